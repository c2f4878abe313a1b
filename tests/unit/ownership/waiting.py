"""Waiting for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 30.0


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)
