"""Waits of tests: for a state, with a bound."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECONDS = 10.0
"""No wait takes longer, unless something is broken."""


async def until(reached: Callable[[], bool]) -> None:
    """Let the event loop run until something is true."""
    async with asyncio.timeout(SECONDS):
        while not reached():  # noqa: ASYNC110 - what is waited for here has no event of its own
            await asyncio.sleep(0)
