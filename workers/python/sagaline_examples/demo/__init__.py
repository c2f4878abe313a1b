"""The demonstration: real processes, real sagas, and a SEC that is killed in the middle.

`plan` says which sagas run on how much, `processes` keeps the SEC, the workers and the store, `board` shows what
happens, `story` is the order of events, and `scripts/demo.py` starts it.
"""
