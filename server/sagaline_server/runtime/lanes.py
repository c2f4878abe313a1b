"""A group commit for each part of a store, so that a part that is slow or away holds up nothing of the others.

Most stores have one part, themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagaline_server.ports.cluster import DividedStore
from sagaline_server.ports.store import SagaStore, Write
from sagaline_server.runtime.commit import GroupCommit, OnWritten
from sagaline_server.store.checks import saga_of


class Lanes:
    """All group commits of a SEC, as one."""

    def __init__(self, store: SagaStore) -> None:
        """Make those of a store."""
        divided = store if isinstance(store, DividedStore) else None
        self._part_of = None if divided is None else divided.part_of
        self.parts: Sequence[SagaStore] = (store,) if divided is None else divided.parts
        self._lanes = [GroupCommit(part) for part in self.parts]
        self._held: dict[str, None] = {}
        """Sagas of which something would have started, but for `holds`."""

    def part(self, saga_id: str) -> SagaStore:
        """Return the part of the store that has a saga."""
        return self.parts[0 if self._part_of is None else self._part_of(saga_id)]

    def holds(self, saga_id: str) -> bool:
        """True while it is not known what became of writes of a saga's part, when others may go on.

        Nothing of the saga may take a worker's slot then: it would keep it from the others for as long as that part
        is away. `freed` tells when it may again.
        """
        if self._part_of is None or self._lanes[self._part_of(saga_id)].is_healthy:
            return False
        self._held[saga_id] = None
        return True

    def freed(self) -> list[str]:
        """Return the sagas that were held and no longer are, each once."""
        if not self._held or self._part_of is None:
            return []
        freed = [saga_id for saga_id in self._held if self._lanes[self._part_of(saga_id)].is_healthy]
        for saga_id in freed:
            del self._held[saga_id]
        return freed

    def submit(self, write: Write, on_written: OnWritten) -> None:
        """Write it soon, after what was submitted before of the same saga."""
        lane = 0 if self._part_of is None else self._part_of(saga_of(write))
        self._lanes[lane].submit(write, on_written)

    @property
    def depth(self) -> int:
        """Number of writes that wait."""
        return sum(lane.depth for lane in self._lanes)

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when that takes longer than `timeout` seconds."""
        return all(await asyncio.gather(*(lane.flush(timeout) for lane in self._lanes)))

    async def until_below(self, depth: int) -> None:
        """Wait until fewer writes than `depth` wait, in each part; not for one that is away while others are there."""
        healthy = [lane for lane in self._lanes if lane.is_healthy]
        await asyncio.gather(*(lane.until_below(depth) for lane in healthy or self._lanes))

    def abandon(self) -> None:
        """Drop what waits, as `GroupCommit.abandon` does."""
        for lane in self._lanes:
            lane.abandon()

    async def run(self) -> None:
        """Commit for ever. The owner runs and cancels it."""
        if len(self._lanes) == 1:
            await self._lanes[0].run()
            return
        async with asyncio.TaskGroup() as group:
            for lane in self._lanes:
                group.create_task(lane.run(), name="commit")
