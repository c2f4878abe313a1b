"""Following one saga's log in etcd, whoever writes it.

The log is read, and then watched from the revision of that read on. Whatever
goes wrong with the watch, the log is read again from the next entry: what was
yielded is known by its numbers, so there is neither a gap nor a repetition.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import structlog

from sagaline_server.ports.cluster import LogPart
from sagaline_server.ports.store import StoreError, StoreRolledBack
from sagaline_server.store.etcd.hub import Subscription, WatchHub
from sagaline_server.store.etcd.keys import Keys, after_all
from sagaline_server.store.log_tail import LogTail, end_of

READ_AGAIN_SECONDS = 30.0
"""After this much silence the log is read again: old etcds can lose events."""
RETRY_SECONDS = 0.2
RETRY_SECONDS_MAX = 2.0
BATCHES_MAX = 256
"""Batches that wait for a slow reader; with more it reads them again when it comes."""

log = structlog.get_logger(__name__)

ReadTail = Callable[[str, int], Awaitable[LogTail | None]]


class LogWatch:
    """One saga's log, followed by one reader.

    Args:
        read: Reads a page of the log from an entry on; None where there is no such saga.
        heal_seconds: For how long reading is tried before the reader is told that the store is away.
    """

    def __init__(self, hub: WatchHub, keys: Keys, saga_id: str, read: ReadTail, heal_seconds: float) -> None:
        self._hub = hub
        self._keys = keys
        self._saga_id = saga_id
        self._read = read
        self._heal_seconds = heal_seconds

    async def parts(self, from_seq: int) -> AsyncIterator[LogPart]:
        """Yield the log from an entry on, until the saga has ended."""
        while True:
            tail = await self._read_patiently(from_seq)
            if tail is None:
                return
            if tail.batches or tail.is_end:
                yield tail.part()
            if tail.is_end:
                return
            from_seq = tail.next_seq
            if tail.more:
                continue
            growth = _Growth(self._keys, self._saga_id, tail.next_seq, tail.revision)
            numbers = self._hub.subscribe(*growth.subscriptions)
            try:
                async for part in growth.parts():
                    yield part
                    if part.is_done:
                        return
            finally:
                self._hub.unsubscribe(numbers)
            from_seq = growth.next_seq

    async def _read_patiently(self, from_seq: int) -> LogTail | None:
        loop = asyncio.get_running_loop()
        deadline, pause = loop.time() + self._heal_seconds, RETRY_SECONDS
        while True:
            try:
                if self._hub.is_closed:
                    raise StoreError("the store is closed")
                return await self._read(self._saga_id, from_seq)
            except StoreError as error:
                if isinstance(error, StoreRolledBack) or self._hub.is_closed or loop.time() + pause > deadline:
                    raise
                log.info("log_watch_waits", saga_id=self._saga_id, error=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, RETRY_SECONDS_MAX)


class _Growth:
    """What is added to a log after a read, as long as nothing goes wrong."""

    def __init__(self, keys: Keys, saga_id: str, next_seq: int, revision: int) -> None:
        self.next_seq = next_seq
        self._keys = keys
        self._batches: deque[tuple[int, bytes]] = deque()
        self._log_revision = revision
        self._done_revision = 0
        self._is_lost = False
        self._changed = asyncio.Event()
        logs, done = keys.log(saga_id), keys.done(saga_id)
        self.subscriptions = (
            Subscription(logs, after_all(logs), revision + 1, self._log_changed, self._lose),
            Subscription(done, None, revision + 1, self._done_changed, self._lose),
        )

    async def parts(self) -> AsyncIterator[LogPart]:
        """Yield what is added, until the saga has ended; end without that when the log has to be read again."""
        while not self._is_lost:
            self._changed.clear()
            batches: list[bytes] = []
            while self._batches:
                first_seq, batch = self._batches.popleft()
                if first_seq > self.next_seq:
                    self._is_lost = True  # there must be something between them
                    break
                if (end := end_of(first_seq, batch)) > self.next_seq:
                    batches.append(batch)
                    self.next_seq = end
            # The last batch is put with the summary, but the two come from different watches.
            is_done = not self._is_lost and 0 < self._done_revision <= self._log_revision
            if batches or is_done:
                yield LogPart(tuple(batches), is_done)
            elif not self._is_lost and not await self._change():
                return

    async def _change(self) -> bool:
        try:
            async with asyncio.timeout(READ_AGAIN_SECONDS):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _log_changed(self, events: Sequence[Any]) -> None:
        for event in events:
            self._log_revision = event.kv.mod_revision
            if event.type == event.PUT:
                self._batches.append((self._keys.first_seq_of(event.kv.key), event.kv.value))
        if len(self._batches) > BATCHES_MAX:
            self._batches.clear()
            self._is_lost = True
        self._changed.set()

    def _done_changed(self, events: Sequence[Any]) -> None:
        if not self._done_revision and events[0].type == events[0].PUT:
            self._done_revision = events[0].kv.mod_revision
        self._changed.set()

    def _lose(self) -> None:
        self._is_lost = True
        self._changed.set()
