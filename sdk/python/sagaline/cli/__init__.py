"""The command `sagaline`: runs SECs and workers, and creates, shows and steers sagas from a terminal.

Command modules are imported when their command runs, so that every other one starts quickly. What a command
prints on standard output is for people (`-o table`) or for programs (`-o json`: the protobuf JSON mapping);
errors go to standard error, and `sagaline.cli.exits` documents the exit codes.
"""
