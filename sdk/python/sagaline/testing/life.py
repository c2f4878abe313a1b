"""One life of a SEC in this process: the server's own engine, dispatcher and recovery over a store in memory.

What is left out is what has no part in a saga: gRPC, leases, the watchdogs of streams. Nothing ticks, so that a day in
which nothing happens costs nothing.
"""

from __future__ import annotations

import asyncio

from sagaline.testing.clock import Chance, VirtualClock
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery
from sagaline_server.runtime.runtime import Runtime
from sagaline_server.store.memory import MemoryBackend, MemoryStore

SEC_ID = "test"
RELIST_SECONDS = 366 * 86_400.0
"""Nobody else changes this store."""


class Life:
    """A SEC from its start to its crash."""

    def __init__(self, backend: MemoryBackend, clock: VirtualClock, chance: Chance) -> None:
        self._store = MemoryStore(backend, relist_seconds=RELIST_SECONDS)
        self.dispatcher = Dispatcher(clock, chance.draw)
        self.engine = SagaEngine(
            self._store, self.dispatcher, clock, chance.draw, chance.writer_id, SEC_ID, RuntimeMetrics(None)
        )
        folder = Folder()
        self._recovery = Recovery(self.engine, folder)
        self.runtime = Runtime(self.engine, folder)
        self._commit: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Open the store, and take over what an earlier life left in it."""
        await self._store.open(sec_id=SEC_ID, address="", version="test")
        self._commit = asyncio.create_task(self.engine.commit.run(), name="commit")
        await self._recovery.adopt_paced(await self._store.list_owned())
        self.engine.is_serving = True

    async def crash(self) -> None:
        """End without a word: what is not durable is lost."""
        self.engine.is_serving = False
        if self._commit is not None:
            self._commit.cancel()
            await asyncio.gather(self._commit, return_exceptions=True)
        self.engine.forget_all()
        await self._store.close()
