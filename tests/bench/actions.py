"""The worker of the benchmarks: actions that do nothing but hand on what they get, and one that fails."""

from __future__ import annotations

import sys

from sagaline import Failed, Worker, action


@action("bench.pass")
async def hand_on(value: str) -> str:
    """Return what came in."""
    return value


@hand_on.undo
async def hand_back(value: str) -> None:
    """Undo nothing."""


@action("bench.fail")
async def fail(value: str) -> str:
    """Fail, with no effect."""
    raise Failed("as told")


@fail.undo
async def undo_nothing(value: str) -> None:
    """Undo nothing."""


if __name__ == "__main__":
    Worker(sys.argv[1].split(","), actions=[hand_on, fail], slots=int(sys.argv[2])).run_forever()
