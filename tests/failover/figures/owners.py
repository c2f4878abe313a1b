"""Who owns which saga, as etcd tells it at the moment at which it changes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any

from aetcd import rpc

from sagaline.v1 import log_pb2
from sagaline_server.store.etcd.keys import after_all
from tests.failover.site import Site


class Owners:
    """The present owners, and when each saga was written to first after a moment that was asked for."""

    def __init__(self, site: Site) -> None:
        self._keys = site.keys
        self._changed = asyncio.Event()
        self.owners: dict[str, str] = {}
        """SEC by saga."""
        self.written: dict[str, float] = {}
        """When a saga's log grew first since `forget`, on the monotonic clock."""

    def of(self, sec_id: str) -> set[str]:
        """Return the sagas that a SEC owns."""
        return {saga_id for saga_id, owner in self.owners.items() if owner == sec_id}

    def forget(self) -> None:
        """Begin to note anew when logs grow."""
        self.written.clear()

    async def until_written(self, saga_ids: Collection[str], seconds: float) -> None:
        """Wait until the log of each has grown."""
        async with asyncio.timeout(seconds):
            while not self.written.keys() >= set(saga_ids):
                self._changed.clear()
                await self._changed.wait()

    async def until_none_of(self, sec_id: str, seconds: float) -> None:
        """Wait until a SEC owns nothing any more."""
        async with asyncio.timeout(seconds):
            while self.of(sec_id):
                self._changed.clear()
                await self._changed.wait()

    def take(self, response: Any) -> None:
        """Take what etcd tells."""
        now = time.monotonic()
        for event in response.events:
            key = bytes(event.kv.key)
            if key.startswith(self._keys.owners):
                self._take_owner(key.removeprefix(self._keys.owners).decode(), event)
            elif key.startswith(self._keys.logs) and event.type == rpc.Event.PUT:
                saga_id = key.removeprefix(self._keys.logs).rpartition(b"/")[0].decode()
                self.written.setdefault(saga_id, now)
        self._changed.set()

    def _take_owner(self, saga_id: str, event: Any) -> None:
        if event.type == rpc.Event.PUT:
            self.owners[saga_id] = log_pb2.OwnerRecord.FromString(event.kv.value).sec_id
        else:
            self.owners.pop(saga_id, None)


@asynccontextmanager
async def watching(site: Site) -> AsyncIterator[Owners]:
    """Watch the owners of a site from its beginning."""
    owners = Owners(site)

    async def ask() -> AsyncIterator[Any]:
        create = rpc.WatchCreateRequest(key=site.root, range_end=after_all(site.root), start_revision=1)
        yield rpc.WatchRequest(create_request=create)
        await asyncio.Event().wait()

    async with site.channel() as channel:
        call = rpc.WatchStub(channel).Watch(ask())

        async def listen() -> None:
            async for response in call:
                owners.take(response)

        listening = asyncio.create_task(listen())
        try:
            yield owners
        finally:
            call.cancel()
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
