"""The worker: runs actions and undo actions for a SEC.

`session`, `holdings`, `outbox` and `attempts` are the machine: no I/O, no clock, no randomness; protos/README.md is
its specification. `stream` carries its frames over gRPC in a thread of its own, `executor` and `threads` run user
code, and `worker` is what users see.
"""
