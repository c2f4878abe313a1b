"""Group commit: writes of many sagas share one transaction, without waiting for company.

One commit is under way at a time; what comes in the meantime makes up the
next one. So an idle saga is written at once, and under load batches grow by
themselves. A write of unknown outcome is sent again, unchanged, until it is
known; the others are not held up by that.
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

BATCH_WRITES = 1000
"""Writes in one commit: enough to keep the store busy, few enough that the first of them is not late."""
RETRY_SECONDS = 0.1
RETRY_SECONDS_MAX = 2.0


class GroupCommit:
    """Gathers writes and commits them."""

    def __init__(self, store: SagaStore) -> None:
        """Make a group commit for an open store."""
        self._store = store
        self._waiting: list[tuple[Write, OnWritten]] = []
        self._unknown: list[tuple[Write, OnWritten]] = []
        self._something = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._delivered = asyncio.Event()
        self._abandoned = 0
        self.is_healthy = True
        """False while the outcome of some write is unknown."""

    def submit(self, write: Write, on_written: OnWritten) -> None:
        """Write it soon. No other write of the same saga may be under way."""
        self._waiting.append((write, on_written))
        self._something.set()
        self._idle.clear()

    @property
    def depth(self) -> int:
        """Number of writes that wait."""
        return len(self._waiting) + len(self._unknown)

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
        self._abandoned += 1
        self._waiting.clear()
        self._unknown.clear()
        self._idle.set()
        self._delivered.set()

    async def run(self) -> None:
        """Commit for ever. The owner runs and cancels it."""
        delay = RETRY_SECONDS
        while True:
            await self._something.wait()
            batch = self._take()
            abandoned = self._abandoned
            reach("commit.before")
            results = await self._commit([write for write, _ in batch])
            reach("commit.after")
            self._deliver(batch, results, may_repeat=abandoned == self._abandoned)
            self._delivered.set()
            if self._unknown:
                await asyncio.sleep(delay)
                delay = min(delay * 2, RETRY_SECONDS_MAX)
            else:
                delay = RETRY_SECONDS
            if not self._waiting and not self._unknown:
                self._something.clear()
                self._idle.set()

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

    def _take(self) -> list[tuple[Write, OnWritten]]:
        batch, self._unknown = self._unknown, []
        free = BATCH_WRITES - len(batch)
        batch += self._waiting[:free]
        del self._waiting[:free]
        # As `saga_of` has it, without a call for each write of every saga.
        sagas = {write.saga_id if isinstance(write, NewSaga) else write.claim.saga_id for write, _ in batch}
        return batch if len(sagas) == len(batch) else self._without_pairs(batch)

    def _without_pairs(self, batch: list[tuple[Write, OnWritten]]) -> list[tuple[Write, OnWritten]]:
        """Let the second of two writes of one saga wait: somebody creates it while it is being adopted."""
        first: dict[str, tuple[Write, OnWritten]] = {}
        second = [item for item in batch if first.setdefault(saga_of(item[0]), item) is not item]
        self._waiting[:0] = second
        return list(first.values())

    def _deliver(
        self, batch: list[tuple[Write, OnWritten]], results: Sequence[WriteResult], *, may_repeat: bool
    ) -> None:
        unknown = 0
        for (write, on_written), result in zip(batch, results, strict=True):
            if result.status is not Status.UNKNOWN:
                on_written(result)
            elif may_repeat:
                unknown += 1
                self._unknown.append((write, on_written))
        if bool(unknown) == self.is_healthy:
            self.is_healthy = not unknown
            if unknown:
                log.warning("store_outcome_unknown", writes=unknown, error=results[0].error)
            else:
                log.info("store_outcome_known_again")
