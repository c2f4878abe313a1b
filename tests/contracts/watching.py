"""Watches under test: what they yield, taken one by one, with a bound on every wait."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from sagaline_server.ports.cluster import ClusterEvent, ClusterStore, LogPart, Resync

T = TypeVar("T")

SECONDS = 20.0
"""Longest wait for anything. As a rule it takes milliseconds."""


class Watching(Generic[T]):
    """A watch that is running."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source

    async def next(self) -> T:
        async with asyncio.timeout(SECONDS):
            return await anext(self._source)

    async def until(self, is_wanted: Callable[[T], bool]) -> list[T]:
        """Take events up to one that is wanted; return them all."""
        taken: list[T] = []
        async with asyncio.timeout(SECONDS):
            while not taken or not is_wanted(taken[-1]):
                taken.append(await anext(self._source))
        return taken

    async def until_event(self, event: T) -> list[T]:
        return await self.until(lambda taken: taken == event)

    async def rest(self) -> list[T]:
        """Take events until the watch ends."""
        async with asyncio.timeout(SECONDS):
            return [event async for event in self._source]


@asynccontextmanager
async def watching(store: ClusterStore) -> AsyncIterator[Watching[ClusterEvent]]:
    """Watch a cluster, from after its first Resync."""
    source = store.watch()
    watch = Watching(source)
    try:
        assert await watch.next() == Resync()
        yield watch
    finally:
        await _close(source)


@asynccontextmanager
async def watching_log(store: ClusterStore, saga_id: str, from_seq: int = 1) -> AsyncIterator[Watching[LogPart]]:
    """Follow a log."""
    source = store.watch_log(saga_id, from_seq)
    try:
        yield Watching(source)
    finally:
        await _close(source)


async def _close(source: AsyncIterator[T]) -> None:
    """End a watch at once, and not when its garbage is collected."""
    close = getattr(source, "aclose", None)
    if close is not None:
        await close()


async def batches_of(watch: Watching[LogPart], count: int) -> list[bytes]:
    """Take parts until there are so many batches."""
    found: list[bytes] = []
    while len(found) < count:
        part = await watch.next()
        found += part.batches
    assert len(found) == count
    return found
