"""A worker whose actions leave a line for each run: one that takes a while, and one that waits for a gate file."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from sagaline import Context, Worker, action

TRACE = Path(os.environ.get("SAGALINE_TEST_TRACE", "trace"))
GATE = Path(os.environ.get("SAGALINE_TEST_GATE", "gate"))
WHILE_SECONDS = 0.05
POLL_SECONDS = 0.05


def trace(context: Context) -> None:
    """Note a run; lines of this size are written whole."""
    with TRACE.open("a") as file:
        file.write(f"{context.idempotency_key}\n")


@action("figure.while")
async def take_a_while(context: Context, value: str) -> str:
    """Return what came in, after a while."""
    trace(context)
    await asyncio.sleep(WHILE_SECONDS)
    return value


@take_a_while.undo
async def take_a_while_back(context: Context, value: str) -> None:
    """Note the undo."""
    trace(context)


class Gate:
    """A file, looked for once for all that wait for it."""

    def __init__(self) -> None:
        self._looking: asyncio.Task[None] | None = None

    async def wait(self) -> None:
        """Wait until it is there."""
        if self._looking is None:
            self._looking = asyncio.create_task(self._look())
        await asyncio.shield(self._looking)

    async def _look(self) -> None:
        while not await asyncio.to_thread(GATE.exists):  # noqa: ASYNC110 - another process makes it
            await asyncio.sleep(POLL_SECONDS)


gate = Gate()


@action("figure.gate")
async def wait_for_gate(context: Context, value: str) -> str:
    """Return what came in, once the gate file is there."""
    trace(context)
    await gate.wait()
    return value


@wait_for_gate.undo
async def go_back(context: Context, value: str) -> None:
    """Note the undo."""
    trace(context)


if __name__ == "__main__":
    Worker(sys.argv[1], actions=[take_a_while, wait_for_gate], slots=int(sys.argv[2])).run_forever()
