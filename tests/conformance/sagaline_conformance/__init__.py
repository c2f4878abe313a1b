"""The conformance kit: a scripted SEC, and the behaviours that every worker must show. See docs/sdk-authors.md."""
