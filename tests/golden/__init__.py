"""Graphs with everything that builders can say, as the builder of every SDK must make them.

`python -m tests.golden` writes the files beside this module, from the Python builder. The tests of each SDK build the
same graphs in their language and compare them with the `.binpb` files; the `.json` files are the same for people. JSON
schemas of types are left out: each language declares them by its own types.
"""
