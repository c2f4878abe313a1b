"""What watchers are told: a bounded buffer for each, and the feed that fills them where the store is in this process.

A buffer never loses anything silently: what it has no room for becomes a
Resync, which stands for everything before it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager

from sagaline_server.ports.cluster import ClusterEvent, LogPart, Resync, SecsChanged
from sagaline_server.ports.store import StoreError
from sagaline_server.store.log_tail import LogTail

EVENTS_MAX = 1000
"""Events that one watcher may be behind."""


class EventBuffer:
    """What one watcher has still to be told, in order.

    Args:
        events_max: With more than these it has to look at everything anew.
    """

    def __init__(self, events_max: int = EVENTS_MAX) -> None:
        self._events: deque[ClusterEvent] = deque()
        self._events_max = events_max
        self._secs_pending = False
        self._something = asyncio.Event()
        self._is_closed = False

    def put(self, event: ClusterEvent) -> None:
        """Add an event; a Resync takes the place of all before it."""
        if isinstance(event, SecsChanged):
            if self._secs_pending:
                return  # whoever takes that one reads the SECs after this change too
            self._secs_pending = True
        if isinstance(event, Resync) or len(self._events) >= self._events_max:
            self._events.clear()
            self._secs_pending = False
            event = Resync()
        self._events.append(event)
        self._something.set()

    def take(self) -> ClusterEvent | None:
        """Return the next event, None if there is none now."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, SecsChanged):
            self._secs_pending = False
        return event

    def close(self) -> None:
        """Let the watcher end, whatever it has still to be told."""
        self._is_closed = True
        self._something.set()

    async def next(self) -> ClusterEvent | None:
        """Wait for the next event; None once the buffer is closed."""
        while not self._is_closed:
            event = self.take()
            if event is not None:
                return event
            self._something.clear()
            await self._something.wait()
        return None


async def relay(buffer: EventBuffer, relist_seconds: float) -> AsyncIterator[ClusterEvent]:
    """Yield the events of a buffer until it is closed, and a Resync wherever there was none for `relist_seconds`."""
    loop = asyncio.get_running_loop()
    due = loop.time() + relist_seconds
    while True:
        if loop.time() >= due:  # under a flow of events nothing below ever waits so long
            buffer.put(Resync())
        try:
            async with asyncio.timeout_at(due):
                event = await buffer.next()
        except TimeoutError:
            event = Resync()
        if event is None:
            return
        if isinstance(event, Resync):
            due = loop.time() + relist_seconds
        yield event


class LocalFeed:
    """Tells the watches of one store what changed. To be called in the event loop's thread, after the change."""

    def __init__(self) -> None:
        # Dictionaries as sets that keep their order, so that simulations repeat.
        self._buffers: dict[EventBuffer, None] = {}
        self._logs: dict[str, dict[asyncio.Event, None]] = {}

    def tell(self, event: ClusterEvent) -> None:
        """Tell all watchers."""
        for buffer in self._buffers:
            buffer.put(event)

    def tell_log(self, saga_id: str) -> None:
        """Tell those who follow this saga's log that it has grown, or ended."""
        for changed in self._logs.get(saga_id, ()):
            changed.set()

    def tell_lost(self) -> None:
        """Tell everybody to look at everything anew: what changed is not known."""
        self.tell(Resync())
        for saga_id in self._logs:
            self.tell_log(saga_id)

    @contextmanager
    def watching(self, buffer: EventBuffer) -> Iterator[None]:
        """Fill a buffer within the block."""
        self._buffers[buffer] = None
        try:
            yield
        finally:
            del self._buffers[buffer]

    @contextmanager
    def watching_log(self, saga_id: str, changed: asyncio.Event) -> Iterator[None]:
        """Set an event within the block, whenever this log has changed."""
        self._logs.setdefault(saga_id, {})[changed] = None
        try:
            yield
        finally:
            del self._logs[saga_id][changed]
            if not self._logs[saga_id]:
                del self._logs[saga_id]


ReadTail = Callable[[str, int], Awaitable[LogTail | None]]
"""Reads a page of a saga's log from an entry on; None where there is no such saga."""


class LocalWatches:
    """The watches of one open store over a feed; they end with it.

    Args:
        feed: Tells of changes.
        relist_seconds: Longest time after which everything is looked at anew.
    """

    def __init__(self, feed: LocalFeed, relist_seconds: float) -> None:
        self._feed = feed
        self._relist_seconds = relist_seconds
        self._buffers: dict[EventBuffer, None] = {}
        self._changes: dict[asyncio.Event, None] = {}
        self._is_closed = False

    def close(self) -> None:
        """End all of them."""
        self._is_closed = True
        for buffer in self._buffers:
            buffer.close()
        for changed in self._changes:
            changed.set()

    async def events(self) -> AsyncIterator[ClusterEvent]:
        """Yield what changes; see `ClusterStore.watch`."""
        buffer = EventBuffer()
        buffer.put(Resync())
        self._buffers[buffer] = None
        try:
            with self._feed.watching(buffer):
                async for event in relay(buffer, self._relist_seconds):
                    yield event
        finally:
            del self._buffers[buffer]

    async def log(self, read: ReadTail, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        """Yield a log and its growth; see `ClusterStore.watch_log`."""
        changed = asyncio.Event()
        self._changes[changed] = None
        try:
            with self._feed.watching_log(saga_id, changed):
                while True:
                    changed.clear()
                    if self._is_closed:
                        raise StoreError("the store is closed")
                    tail = await read(saga_id, from_seq)
                    if tail is None:
                        return
                    if tail.batches or tail.is_end:
                        yield tail.part()
                    if tail.is_end:
                        return
                    from_seq = tail.next_seq
                    if not tail.more:
                        await self._change(changed)
        finally:
            del self._changes[changed]

    async def _change(self, changed: asyncio.Event) -> None:
        try:
            async with asyncio.timeout(self._relist_seconds):
                await changed.wait()
        except TimeoutError:
            pass  # look anyway
