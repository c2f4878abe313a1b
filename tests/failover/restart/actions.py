"""A worker whose actions leave traces in a file: one line for each run, so that a test can count them."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path

from sagaline import Context, Failed, Worker, action

TRACE = Path(os.environ.get("SAGALINE_TEST_TRACE", "trace"))
GATE = Path(os.environ.get("SAGALINE_TEST_GATE", "gate"))


def trace(context: Context) -> None:
    """Note a run; lines of this size are written whole."""
    with TRACE.open("a") as file:
        file.write(f"{context.idempotency_key}\n")


def wait_for_gate() -> None:
    """Wait until the test has made the gate file."""
    while not GATE.exists():
        time.sleep(0.01)


@action("test.pass")
async def hand_on(context: Context, value: str) -> str:
    """Return what came in."""
    trace(context)
    return value


@hand_on.undo
async def hand_back(context: Context, value: str) -> None:
    """Note the undo."""
    trace(context)


@action("test.slow")
async def slow(context: Context, value: str) -> str:
    """Return what came in, once the gate file is there."""
    trace(context)
    await asyncio.to_thread(wait_for_gate)
    return value


@slow.undo
async def slow_back(context: Context, value: str) -> None:
    """Note the undo."""
    trace(context)


@action("test.fail")
async def fail(context: Context, value: str) -> str:
    """Fail with no effect."""
    trace(context)
    raise Failed("Refused", "this action always fails")


@fail.undo
async def fail_back(context: Context, value: str) -> None:
    """Note what should never happen."""
    trace(context)


if __name__ == "__main__":
    Worker(sys.argv[1], actions=[hand_on, slow, fail], slots=100).run_forever()
