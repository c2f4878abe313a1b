"""What changes among SECs, requests and conditions in etcd, as events.

Three subscriptions of the hub's one stream. From time to time, and whenever
something was lost, the present revision is read; the watch then goes on from
there, and a Resync tells the watcher to read all that came before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import structlog

from sagaline_server.ports.cluster import (
    ClusterEvent,
    ConditionsChanged,
    ControlGone,
    ControlPut,
    Resync,
    SecsChanged,
    StoredControl,
)
from sagaline_server.ports.store import StoreError
from sagaline_server.store.etcd.hub import Subscription, WatchHub
from sagaline_server.store.etcd.keys import Keys, after_all
from sagaline_server.store.feed import EventBuffer, relay

RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0
RELISTS_PER_LIMIT = 1.25
"""The revision is read a little earlier than a Resync is due without it, so that as a rule both are one."""

log = structlog.get_logger(__name__)


class ClusterWatch:
    """One watch.

    Args:
        hub: Has the stream.
        keys: Where SECs, requests and conditions are.
        revision: Reads the present revision of the store.
        relist_seconds: Longest time between two Resyncs.
    """

    def __init__(
        self, hub: WatchHub, keys: Keys, revision: Callable[[], Awaitable[int]], relist_seconds: float
    ) -> None:
        self._hub = hub
        self._keys = keys
        self._revision = revision
        self._relist_seconds = relist_seconds
        self._buffer = EventBuffer()
        self._subscriptions: list[Subscription] = []
        self._numbers: list[int] = []
        self._lost = asyncio.Event()

    async def events(self) -> AsyncIterator[ClusterEvent]:
        """Yield events until the hub is closed."""
        keeper = asyncio.create_task(self._keep(), name="etcd-cluster-watch")
        try:
            async for event in relay(self._buffer, self._relist_seconds):
                yield event
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
            self._hub.unsubscribe(self._numbers)

    async def _keep(self) -> None:
        """Keep the subscriptions in step with what Resyncs have told, until the hub is closed."""
        pause = RETRY_SECONDS
        try:
            while not self._hub.is_closed:
                try:
                    self._go_on_from(await self._revision())
                except StoreError as error:
                    log.info("watch_waits", error=str(error))
                except Exception:
                    # Without this task the watch would hear nothing any more, and nobody would know.
                    log.exception("watch_failed")
                else:
                    pause = RETRY_SECONDS
                    await self._lost_within(self._relist_seconds / RELISTS_PER_LIMIT)
                    continue
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_SECONDS_MAX)
        finally:
            self._buffer.close()

    async def _lost_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        except TimeoutError:
            pass

    def _go_on_from(self, revision: int) -> None:
        """Leave everything up to a revision to a Resync."""
        if self._lost.is_set() or not self._subscriptions:
            self._hub.unsubscribe(self._numbers)
            self._lost.clear()
            keys = self._keys
            self._subscriptions = [
                Subscription(start, after_all(start), revision + 1, deliver, self._lose)
                for start, deliver in (
                    (keys.secs, self._secs_changed),
                    (keys.controls, self._controls_changed),
                    (keys.conditions, self._conditions_changed),
                )
            ]
            self._numbers = self._hub.subscribe(*self._subscriptions)
        for subscription in self._subscriptions:
            subscription.next_revision = max(subscription.next_revision, revision + 1)
        self._buffer.put(Resync())

    def _secs_changed(self, _events: Sequence[Any]) -> None:
        self._buffer.put(SecsChanged())

    def _conditions_changed(self, _events: Sequence[Any]) -> None:
        self._buffer.put(ConditionsChanged())

    def _controls_changed(self, events: Sequence[Any]) -> None:
        for event in events:
            names = self._keys.control_of(event.kv.key)
            if names is None:
                log.warning("stray_key", key=event.kv.key)
            elif event.type == event.DELETE:
                self._buffer.put(ControlGone(*names))
            else:
                self._buffer.put(ControlPut(StoredControl(*names, event.kv.value)))

    def _lose(self) -> None:
        self._lost.set()
