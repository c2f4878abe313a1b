"""Waiting for what SECs tell, while one of them may be gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sagaline.errors import RpcError

POLL_SECONDS = 0.05


async def until(holds: Callable[[], Awaitable[bool]], seconds: float) -> None:
    """Wait at most so long until something holds; a SEC that does not answer is asked again."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                if await holds():
                    return
            except RpcError:
                pass
            await asyncio.sleep(POLL_SECONDS)
