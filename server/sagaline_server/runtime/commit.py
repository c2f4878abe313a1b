"""Group commit: writes of many sagas share one transaction, without waiting for company.

What comes in while a commit is under way makes up the next one. So an idle
saga is written at once, and under load batches grow by themselves. As soon as
as many wait as fill a transaction of the store, the next commit does not wait
for the one before: a few are under way side by side, over different sagas, and
each is told of when it ends. A write of unknown outcome is sent again,
unchanged, until it is known; the others are not held up by that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from sagaline_server.ports.store import NewSaga, SagaStore, Status, Write, WriteRefused, WriteResult
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.store.checks import saga_of

log = structlog.get_logger("sagaline.commit")

OnWritten = Callable[[WriteResult], None]
"""Called once with how a write ended; never with UNKNOWN."""
Item = tuple[Write, OnWritten]

BATCH_WRITES = 1000
"""Writes in one commit: enough to keep the store busy, few enough that the first of them is not late."""
RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0


class GroupCommit:
    """Gathers writes and commits them."""

    def __init__(self, store: SagaStore) -> None:
        """Make a group commit for an open store."""
        self._store = store
        self._waiting: list[Item] = []
        self._under_way: set[str] = set()
        """Sagas of which a write is under way, or is to be sent again: no other write of theirs leaves meanwhile."""
        self._commits = 0
        """Commits that have not ended, with those that wait to be sent again."""
        self._at_store = 0
        """Those of them that the store has now."""
        self._unknown = 0
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._delivered = asyncio.Event()
        self._abandoned = asyncio.Event()
        """Of this incarnation: set, and replaced, when it is dead."""
        self.is_healthy = True
        """False while the outcome of some write is unknown."""

    def submit(self, write: Write, on_written: OnWritten) -> None:
        """Write it soon, after what was submitted before of the same saga."""
        self._waiting.append((write, on_written))
        self._something.set()
        self._idle.clear()

    @property
    def depth(self) -> int:
        """Number of writes that wait."""
        return len(self._waiting) + self._unknown

    async def flush(self, timeout: float) -> bool:
        """Wait until nothing is under way; False when that takes longer than `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def until_below(self, depth: int) -> None:
        """Wait until fewer writes than `depth` wait."""
        while self.depth >= depth:
            self._delivered.clear()
            await self._delivered.wait()

    def abandon(self) -> None:
        """Drop what waits: this incarnation is dead and would only hear FENCED.

        What is under way is not sent again: under the next incarnation a creation would go through.
        """
        self._abandoned.set()
        self._abandoned = asyncio.Event()
        self._waiting.clear()
        self._idle.set()
        self._delivered.set()

    async def run(self) -> None:
        """Commit for ever. The owner runs and cancels it."""
        async with asyncio.TaskGroup() as commits:
            while True:
                await self._something.wait()
                self._something.clear()
                while self._may_begin() and (batch := self._take()):
                    self._commits += 1
                    commits.create_task(self._carry_out(batch))
                if not self._waiting and not self._commits:
                    self._idle.set()

    def _may_begin(self) -> bool:
        pace = self._store.pace
        if not self._waiting or self._commits >= pace.at_once:
            return False
        return not self._at_store or len(self._waiting) >= pace.full

    async def _carry_out(self, batch: list[Item]) -> None:
        """Commit a batch, and what remains unknown of it again and again."""
        abandoned, delay = self._abandoned, RETRY_SECONDS
        while batch:
            self._at_store += 1
            reach("commit.before")
            results = await self._commit([write for write, _ in batch])
            reach("commit.after")
            self._at_store -= 1
            batch = self._deliver(batch, results, may_repeat=not abandoned.is_set())
            self._delivered.set()
            self._something.set()
            if batch:
                batch = await self._pause(batch, abandoned, delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)
        self._commits -= 1

    async def _pause(self, batch: list[Item], abandoned: asyncio.Event, delay: float) -> list[Item]:
        """Let the store come back; returns what is to be sent again then."""
        self._unknown += len(batch)
        try:
            async with asyncio.timeout(delay):
                await abandoned.wait()
        except TimeoutError:
            return batch
        finally:
            self._unknown -= len(batch)
        self._under_way -= {saga_of(write) for write, _ in batch}
        self._something.set()
        return []

    async def _commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        """Commit writes; one that the store can't take must not hold up the others."""
        try:
            return await self._store.commit(writes)
        except WriteRefused as refused:
            log.error("writes_refused", sagas=refused.saga_ids, error=str(refused))  # noqa: TRY400 - it says all
            left = [write for write in writes if saga_of(write) not in refused.saga_ids]
            results = iter(await self._commit(left) if left else ())
            no = WriteResult(Status.REFUSED, error=str(refused))
            return [no if saga_of(write) in refused.saga_ids else next(results) for write in writes]

    def _take(self) -> list[Item]:
        """Return the next batch: a full one if others may follow beside it, else all there is."""
        pace = self._store.pace
        size = pace.full if self._commits + 1 < pace.at_once else BATCH_WRITES
        batch = self._waiting[:size]
        sagas = _sagas_of(batch)
        if len(sagas) == len(batch) and sagas.isdisjoint(self._under_way):
            del self._waiting[:size]
        else:
            batch = self._take_without_pairs(size)
        self._under_way |= _sagas_of(batch)
        return batch

    def _take_without_pairs(self, size: int) -> list[Item]:
        """Let the second of two writes of one saga wait: somebody creates it while it is being adopted."""
        batch: list[Item] = []
        left: list[Item] = []
        sagas = self._under_way.copy()
        for item in self._waiting:
            saga_id = saga_of(item[0])
            (left if saga_id in sagas or len(batch) == size else batch).append(item)
            sagas.add(saga_id)
        self._waiting = left
        return batch

    def _deliver(self, batch: list[Item], results: Sequence[WriteResult], *, may_repeat: bool) -> list[Item]:
        """Tell of the writes whose outcome is known; returns those that are to be sent again."""
        unknown: list[Item] = []
        self._under_way -= _sagas_of(batch)
        for item, result in zip(batch, results, strict=True):
            if result.status is not Status.UNKNOWN:
                item[1](result)
            elif may_repeat:
                unknown.append(item)
        self._under_way |= _sagas_of(unknown)
        is_healthy = not unknown and not self._unknown
        if is_healthy != self.is_healthy:
            self.is_healthy = is_healthy
            if unknown:
                error = next(result.error for result in results if result.status is Status.UNKNOWN)
                log.warning("store_outcome_unknown", writes=len(unknown), error=error)
            else:
                log.info("store_outcome_known_again")
        return unknown


def _sagas_of(batch: Sequence[Item]) -> set[str]:
    # As `saga_of` has it, without a call for each write of every saga.
    return {write.saga_id if isinstance(write, NewSaga) else write.claim.saga_id for write, _ in batch}
