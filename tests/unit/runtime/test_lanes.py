"""Group commits of a store in parts: what one part can't take now holds up nothing of the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from sagaline_server.ports.store import Status, WriteResult
from sagaline_server.runtime.lanes import Lanes
from sagaline_server.store.memory import Fault, MemoryBackend, MemoryStore
from sagaline_server.store.sharded import ShardedStore
from tests.contracts.clusters import BootClock
from tests.contracts.sagas import new_saga

SECONDS = 30.0


class Parts:
    """A store of two parts in memory, each of which can be made to lose everything."""

    def __init__(self) -> None:
        self.away: set[int] = set()
        self.backends = [MemoryBackend(partial(self._fault, part)) for part in range(2)]
        self.store = ShardedStore([MemoryStore(backend) for backend in self.backends], BootClock())
        self.lanes = Lanes(self.store)
        self.results: dict[str, WriteResult] = {}
        self._more = asyncio.Event()

    def _fault(self, part: int, _method: str) -> Fault:
        return Fault.LOSE_REQUEST if part in self.away else Fault.NONE

    def ids(self, part: int, count: int) -> list[str]:
        """Return ids of sagas that belong to a part."""
        return [saga_id for number in range(100) if self.store.part_of(saga_id := f"s-{number}") == part][:count]

    def create(self, saga_ids: list[str]) -> None:
        for saga_id in saga_ids:
            self.lanes.submit(new_saga(saga_id), partial(self._note, saga_id))

    def _note(self, saga_id: str, result: WriteResult) -> None:
        self.results[saga_id] = result
        self._more.set()

    async def until_written(self, saga_ids: list[str]) -> None:
        async with asyncio.timeout(SECONDS):
            while not set(saga_ids) <= set(self.results):
                self._more.clear()
                await self._more.wait()
        assert {self.results[saga_id].status for saga_id in saga_ids} == {Status.DONE}


@asynccontextmanager
async def running() -> AsyncIterator[Parts]:
    parts = Parts()
    await parts.store.open(sec_id="sec-a", address="host:7433", version="1")
    committing = asyncio.create_task(parts.lanes.run())
    try:
        yield parts
    finally:
        committing.cancel()
        await asyncio.gather(committing, return_exceptions=True)
        await parts.store.close()


async def test_a_part_that_is_away_holds_up_nothing_of_the_others() -> None:
    async with running() as parts:
        here, there = parts.ids(0, 20), parts.ids(1, 20)
        parts.away.add(1)
        parts.create([*there, *here])
        await parts.until_written(here)
        assert set(parts.results) == set(here)
        assert parts.lanes.depth == len(there)
        async with asyncio.timeout(SECONDS):
            await parts.lanes.until_below(1)  # an adoption in the part that is there goes on
        parts.away.clear()
        await parts.until_written(there)
        async with asyncio.timeout(SECONDS):
            assert await parts.lanes.flush(SECONDS)
        for part, backend in enumerate(parts.backends):
            assert {owned.saga_id for owned in backend.owned()} == {*(here, there)[part]}


async def test_what_is_given_up_is_written_in_no_part() -> None:
    async with running() as parts:
        parts.away.update((0, 1))
        parts.create([*parts.ids(0, 3), *parts.ids(1, 3)])
        parts.lanes.abandon()
        assert parts.lanes.depth == 0
        parts.away.clear()
        later = [*parts.ids(0, 5)[3:], *parts.ids(1, 5)[3:]]
        parts.create(later)
        await parts.until_written(later)
        assert set(parts.results) == set(later)
