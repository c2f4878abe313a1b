"""The saga machine: pure functions over plain data, no I/O, clock or randomness.

`graph` and `validate` say what may be run; `flatten` turns a graph into the
topology the machine runs on; `state`, `apply` and `decide` are the machine.
"""
