"""Benchmarks: they print figures, and are no tests."""
