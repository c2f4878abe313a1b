"""Finished sagas grow old: they are archived where that is asked for, then compacted, then removed.

Any SEC may do it, as nothing here needs ownership: a finished saga changes no
more, and the store removes nothing of an unfinished one, whoever asks. The
SECs share the sagas by rendezvous hashing so that they do not all do the same;
where they disagree for a moment, a saga is archived twice, to the same place.
What is removed is the saga that was looked at: one that has its id since stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import structlog
from google.protobuf.message import DecodeError

from sagaline.v1 import log_pb2
from sagaline_server.core.placement import preferred
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.archive import Archive, ArchivedSaga, ArchiveError
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.store import ListQuery, SagaStore, StoredHead, StoreError
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.wire.dumps import dump_saga
from sagaline_server.wire.entries import UnreadableLog
from sagaline_server.wire.times import to_seconds

log = structlog.get_logger("sagaline.retention")

HEADS_AT_ONCE = 50
PAUSE_SECONDS = 0.1
"""Between two parts of a sweep: it looks at 500 sagas a second at most, beside everything else."""


class RetentionTimes(msgspec.Struct, frozen=True):
    """How long finished sagas are kept, in seconds since they ended; 0 is for ever."""

    compact_after: float
    """Then the log goes. Record and summary stay."""
    remove_after: float
    """Then nothing is left, and a saga of the same id is a new one."""
    sweep: float
    """Pause between two looks at all of them."""


class Retention:
    """Looks through the finished sagas, for ever."""

    def __init__(
        self,
        store: SagaStore,
        membership: Membership,
        clock: Clock,
        times: RetentionTimes,
        metrics: RuntimeMetrics,
        archive: Archive | None = None,
    ) -> None:
        """Make the retention of one SEC.

        Args:
            store: Where the sagas are.
            membership: Who shares the work.
            clock: Its wall time is compared with when sagas ended.
            times: How long they are kept.
            metrics: Counts what is done.
            archive: Where sagas go before anything of them is deleted. None: nowhere.
        """
        self._store = store
        self._membership = membership
        self._clock = clock
        self._times = times
        self._metrics = metrics
        self._archive = archive
        self._compacted_until = 0.0
        """Of sagas that ended before this, the last sweep has seen to it that their logs are gone."""
        self._sharers: list[str] = []

    @property
    def is_wanted(self) -> bool:
        """False where everything is kept for ever."""
        return bool(self._times.compact_after or self._times.remove_after)

    async def run(self) -> None:
        """Sweep for ever. The owner runs and cancels it."""
        while True:
            try:
                await self.sweep()
            except (StoreError, ArchiveError) as error:
                log.warning("retention_failed", error=str(error))
            await asyncio.sleep(self._times.sweep)

    async def sweep(self) -> None:
        """Look at every finished saga once.

        Raises:
            StoreError: The store can't be reached. What is left waits for the next sweep.
            ArchiveError: The archive takes nothing, and so nothing was deleted.
        """
        now = self._clock.wall()
        sharers = sorted(self._membership.candidates())
        if sharers != self._sharers:
            self._sharers, self._compacted_until = sharers, 0.0  # sagas may be this one's that were not before
        after, is_whole = "", True
        while heads := await self._store.list_heads(ListQuery(after, HEADS_AT_ONCE, unfinished=False)):
            mine = [head for head in heads if preferred(head.saga_id, sharers) == self._membership.me]
            is_whole &= await self._take(mine, now)
            after = heads[-1].saga_id
            await asyncio.sleep(PAUSE_SECONDS)
        if is_whole and self._times.compact_after:
            self._compacted_until = now - self._times.compact_after

    async def _take(self, heads: Sequence[StoredHead], now: float) -> bool:
        """Do what is due to a part of the sagas; False when something must be tried again."""
        ended = {head.saga_id: _ended(head) for head in heads}
        old = [saga for saga, at in ended.items() if at and self._is_past(self._times.remove_after, at, now)]
        aging = [
            saga
            for saga, at in ended.items()
            if at > self._compacted_until and saga not in old and self._is_past(self._times.compact_after, at, now)
        ]
        dones = {head.saga_id: head.done or b"" for head in heads}
        gone = await self._archived({saga: ended[saga] for saga in old}, dones)
        if gone:
            await self._store.remove_finished(gone, keep_summary=False, dones=dones)
            self._metrics.removed += len(gone)
        smaller = await self._archived({saga: ended[saga] for saga in aging}, dones)
        if smaller:
            await self._store.remove_finished(smaller, keep_summary=True, dones=dones)
            self._metrics.compacted += len(smaller)
        if gone or smaller:
            log.info("sagas_retired", removed=len(gone), compacted=len(smaller))
        return len(gone) == len(old) and len(smaller) == len(aging)

    @staticmethod
    def _is_past(seconds: float, ended: float, now: float) -> bool:
        return seconds > 0 and now - ended >= seconds

    async def _archived(self, ended: dict[str, float], dones: Mapping[str, bytes]) -> list[str]:
        """Return those that may be deleted: all, or where there is an archive, those that are durable there."""
        if self._archive is None or not ended:
            return list(ended)
        dumped: list[ArchivedSaga] = []
        free: list[str] = []
        for saga_id, at in ended.items():
            stored = await self._store.read(saga_id)
            if stored is None or stored.done != dones[saga_id]:
                continue  # removed meanwhile, and perhaps another saga now
            free.append(saga_id)
            if not stored.batches:
                continue  # compacted: it was archived before that
            try:
                dumped.append(ArchivedSaga(saga_id, at, dump_saga(stored.record, stored.batches)))
            except UnreadableLog as error:
                log.warning("saga_not_archived", saga_id=saga_id, error=str(error))
                free.pop()
        if dumped:
            await self._archive.put(dumped)
            self._metrics.archived += len(dumped)
        return free


def _ended(head: StoredHead) -> float:
    """Return when a saga ended; 0 where that can't be read: then it stays."""
    try:
        return to_seconds(log_pb2.DoneRecord.FromString(head.done or b"").saga.update_time)
    except DecodeError:
        return 0.0
