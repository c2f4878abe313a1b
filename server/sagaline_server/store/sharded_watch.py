"""One watch over several: what any part tells is told, and a Resync of any part is one of the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

import structlog

from sagaline_server.ports.cluster import ClusterEvent, Resync
from sagaline_server.ports.store import StoreError
from sagaline_server.store.feed import EventBuffer

log = structlog.get_logger(__name__)


async def merged(watches: Sequence[AsyncIterator[ClusterEvent]], patience: float) -> AsyncGenerator[ClusterEvent]:
    """Yield the events of all watches, each part's in order, until one of them ends: they end with their store.

    Args:
        watches: Each begins with a Resync.
        patience: Seconds to wait for the first of all of them, before the whole begins without those that are away.
            When such a part is back its first Resync is one of the whole.
    """
    merge = _Merge(len(watches))
    tasks = [asyncio.create_task(merge.take(watch), name="sharded-watch") for watch in watches]
    try:
        await merge.begin(patience)
        while (event := await merge.buffer.next()) is not None:
            yield event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Merge:
    """What the watches have told so far."""

    def __init__(self, count: int) -> None:
        self.buffer = EventBuffer()
        self._to_begin = count
        self._changed = asyncio.Event()
        self._has_begun = False

    async def take(self, watch: AsyncIterator[ClusterEvent]) -> None:
        """Take the events of one watch until it ends."""
        try:
            await anext(watch, None)  # its first Resync
            self._to_begin -= 1
            if self._has_begun:
                self.buffer.put(Resync())
            elif not self._to_begin:
                self._changed.set()
            async for event in watch:
                if self._has_begun:  # else the first Resync of the whole stands for it
                    self.buffer.put(event)
        except StoreError as error:
            log.info("shard_watch_ended", error=str(error))
        except Exception:
            # Without this part nobody would hear of its sagas any more: let the whole end, so that somebody asks why.
            log.exception("shard_watch_failed")
        finally:
            self._changed.set()
            self.buffer.close()

    async def begin(self, patience: float) -> None:
        """Wait until the whole can begin with one Resync for all."""
        try:
            async with asyncio.timeout(patience):
                await self._changed.wait()
        except TimeoutError:
            log.info("watch_begins_without_some_shards", missing=self._to_begin)
        self._has_begun = True
        self.buffer.put(Resync())
