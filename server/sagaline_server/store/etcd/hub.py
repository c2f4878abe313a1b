"""One watch stream for all that a SEC watches, which is mended whenever it breaks.

Each subscription goes on from the revision after its last event, so a break
costs nothing but time. Where that can't be done (compaction, too much to go
through) the subscription is lost, its owner is told, and reads anew; nothing is
ever skipped silently.

Answers to progress requests only show that the stream lives. Older etcds send
them before events of revisions that they cover, so nothing goes on from them.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from aetcd import rpc

from sagaline_server.ports.store import StoreError
from sagaline_server.store.etcd.channel import EtcdChannel, WatchStream

SEND_SECONDS = 5.0
RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 1.0
STEADY_SECONDS = 5.0
"""A stream that lived longer than this is mended at once."""
RESUMED_REVISIONS_MAX = 10_000
"""etcd goes through all revisions, of whatever keys, from where a watch resumes. Reading anew is cheaper than more."""

PROGRESS = rpc.WatchRequest(progress_request=rpc.WatchProgressRequest())

log = structlog.get_logger(__name__)


class Subscription:
    """A range of keys that somebody watches.

    Args:
        key: First key, or the only one.
        range_end: Key after the last one; None: `key` alone.
        from_revision: First revision of which events are wanted.
        deliver: Called with events in order, never empty. May see one twice after a break in the middle of a large
            transaction.
        lose: Called once, when no more events will come and some may be missing.
    """

    def __init__(
        self,
        key: bytes,
        range_end: bytes | None,
        from_revision: int,
        deliver: Callable[[Sequence[Any]], None],
        lose: Callable[[], None],
    ) -> None:
        self.key = key
        self.range_end = range_end
        self.next_revision = from_revision
        """Events below are known to its owner. May be raised by whoever has read the keys at a later revision."""
        self.deliver = deliver
        self.lose = lose


class WatchHub:
    """All subscriptions of one SEC.

    Args:
        channel: Opens the stream.
        silence_seconds: After so much silence etcd is asked whether it is there, and after twice as much the stream
            counts as broken.
    """

    def __init__(self, channel: EtcdChannel, silence_seconds: float) -> None:
        self._channel = channel
        self._silence_seconds = silence_seconds
        self._subscriptions: dict[int, Subscription] = {}
        self._ids = itertools.count(1)
        # What the present stream has still to be told, if there is one.
        self._to_begin: dict[int, None] = {}
        self._to_end: dict[int, None] = {}
        self._has_stream = False
        self._changed = asyncio.Event()
        self._heard_at = 0.0
        self._trouble = ""
        self._task: asyncio.Task[None] | None = None
        self.is_closed = False

    def subscribe(self, *subscriptions: Subscription) -> list[int]:
        """Begin to watch; returns the numbers to `unsubscribe` with."""
        numbers = [next(self._ids) for _ in subscriptions]
        self._subscriptions.update(zip(numbers, subscriptions, strict=True))
        self._to_begin.update(dict.fromkeys(numbers))
        self._changed.set()
        if self.is_closed:
            for number in numbers:
                self._lose(number)
        elif self._task is None:
            self._task = asyncio.create_task(self._run(), name="etcd-watch-hub")
        return numbers

    def unsubscribe(self, numbers: Sequence[int]) -> None:
        """Watch no longer. Lost subscriptions are gone already."""
        for number in numbers:
            self._drop(number)

    async def close(self) -> None:
        """End everything. Whoever still watches is told that it has lost."""
        self.is_closed = True
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for number in list(self._subscriptions):
            self._lose(number)

    # ---- the stream

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause = RETRY_SECONDS
        while True:
            began = loop.time()
            try:
                async with self._channel.watch() as stream:
                    await self._use(stream)
            except StoreError as error:
                self._note(str(error))
            except Exception:
                # Whatever it was, there are sagas that wait for what the next stream will bring.
                log.exception("watch_failed")
            pause = RETRY_SECONDS if loop.time() - began > STEADY_SECONDS else min(2 * pause, RETRY_SECONDS_MAX)
            await asyncio.sleep(pause)

    async def _use(self, stream: WatchStream) -> None:
        """Watch until the stream breaks."""
        tasks = {asyncio.create_task(self._listen(stream)), asyncio.create_task(self._talk(stream))}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            self._has_stream = False
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _listen(self, stream: WatchStream) -> None:
        loop = asyncio.get_running_loop()
        while True:
            response = await stream.receive()
            self._heard_at = loop.time()
            self._trouble = ""
            self._channel.heard(stream, response.header)
            self._take(response, stream)

    async def _talk(self, stream: WatchStream) -> None:
        """Tell etcd what is watched, and ask whether it is still there when it has been silent for long."""
        loop = asyncio.get_running_loop()
        self._to_begin, self._to_end, self._has_stream = dict.fromkeys(self._subscriptions), {}, True
        self._heard_at, asked_at = loop.time(), 0.0
        while True:
            await self._tell_changes(stream)
            silence = loop.time() - self._heard_at
            if silence >= 2 * self._silence_seconds:
                raise self._channel.give_up(stream, "it is silent")
            if silence >= self._silence_seconds and asked_at <= self._heard_at:
                await self._send(stream, PROGRESS)
                asked_at = loop.time()
            due = self._heard_at + (2 if asked_at > self._heard_at else 1) * self._silence_seconds
            try:
                async with asyncio.timeout_at(due if self._subscriptions else None):
                    await self._changed.wait()
            except TimeoutError:
                continue
            if not self._subscriptions or len(self._to_begin) == len(self._subscriptions):
                self._heard_at = loop.time()  # it had nothing to say until now

    async def _tell_changes(self, stream: WatchStream) -> None:
        self._changed.clear()
        while self._to_end:
            number, _ = self._to_end.popitem()
            await self._send(stream, rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=number)))
        while self._to_begin:
            number = next(iter(self._to_begin))
            del self._to_begin[number]
            await self._ask(stream, self._subscriptions[number], number)

    async def _ask(self, stream: WatchStream, subscription: Subscription, number: int) -> None:
        """Begin one watch, where that is worth while."""
        if self._channel.lineage.revision - subscription.next_revision > RESUMED_REVISIONS_MAX:
            self._lose(number)
            return
        request = rpc.WatchCreateRequest(key=subscription.key, watch_id=number, fragment=True)
        if subscription.range_end is not None:
            request.range_end = subscription.range_end
        # One revision early, and what is of that revision is left out: newer etcds answer no progress request while
        # there is a watch whose first revision has not come yet.
        request.start_revision = subscription.next_revision - 1
        await self._send(stream, rpc.WatchRequest(create_request=request))

    async def _send(self, stream: WatchStream, request: Any) -> None:
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await stream.send(request)
        except TimeoutError:
            raise self._channel.give_up(stream, "it takes no requests") from None

    # ---- what comes

    def _take(self, response: Any, stream: WatchStream) -> None:
        number = response.watch_id
        subscription = self._subscriptions.get(number)
        if subscription is None:
            return  # it was given up, or this answers a progress request
        if response.canceled:
            if not response.compact_revision:
                self._channel.log_in_again()
                raise self._channel.give_up(stream, response.cancel_reason)
            log.info("watch_compacted", next_revision=subscription.next_revision, compacted=response.compact_revision)
            self._lose(number)
            return
        events = [event for event in response.events if event.kv.mod_revision >= subscription.next_revision]
        if not events:
            return
        # The rest of a revision may come with the next fragment.
        subscription.next_revision = events[-1].kv.mod_revision + (0 if response.fragment else 1)
        try:
            subscription.deliver(events)
        except Exception:
            log.exception("watch_event_failed", key=subscription.key)
            self._lose(number)

    def _lose(self, number: int) -> None:
        subscription = self._drop(number)
        if subscription is not None:
            subscription.lose()

    def _drop(self, number: int) -> Subscription | None:
        subscription = self._subscriptions.pop(number, None)
        if subscription is not None:
            if number in self._to_begin:
                del self._to_begin[number]
            elif self._has_stream:
                self._to_end[number] = None
            self._changed.set()
        return subscription

    def _note(self, trouble: str) -> None:
        """Log what is wrong, once for as long as it is the same."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("watch_broken", error=trouble, subscriptions=len(self._subscriptions))
