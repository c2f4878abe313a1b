"""The worker of the benchmarks: actions that do nothing but hand on what they get."""

from __future__ import annotations

import sys

from sagaline import Worker, action


@action("bench.pass")
async def hand_on(value: str) -> str:
    """Return what came in."""
    return value


@hand_on.undo
async def hand_back(value: str) -> None:
    """Undo nothing."""


if __name__ == "__main__":
    Worker(sys.argv[1], actions=[hand_on], slots=int(sys.argv[2])).run_forever()
