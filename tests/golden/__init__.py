"""One graph with everything that builders can say, as the builder of every SDK must make it.

`python -m tests.golden` writes the two files beside this module, from the Python builder. The tests of each SDK build
the same graph in their language and compare it with `graph.binpb`; `graph.json` is the same for people. JSON schemas of
types are left out: each language declares them by its own types.
"""
