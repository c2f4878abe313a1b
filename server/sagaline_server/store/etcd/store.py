"""`ClusterStore` on etcd.

Puts the pieces together: the lease (`lease.py`) says that this process lives,
the leased key's create revision is its incarnation (`incarnation.py`), every
transaction (`transactions.py`, `adoption.py`, `hand_off.py`) demands it, and
one stream (`hub.py`) carries all that is watched.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager

import structlog

from sagaline.v1 import log_pb2
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import ClusterEvent, HandOff, HandOffFate, LogPart, StoredCondition, StoredControl
from sagaline_server.ports.store import (
    Claim,
    ListQuery,
    OwnedSaga,
    Pace,
    SecRecord,
    Status,
    StoredHead,
    StoredSaga,
    StoreError,
    Write,
    WriteResult,
)
from sagaline_server.store.checks import (
    check_control_id,
    check_hand_offs,
    check_limit,
    check_log_range,
    check_saga_id,
    check_sagas,
    check_subject,
    check_writes,
    refuse_problems,
)
from sagaline_server.store.etcd import adoption, transactions
from sagaline_server.store.etcd.channel import EtcdChannel
from sagaline_server.store.etcd.cluster_watch import ClusterWatch
from sagaline_server.store.etcd.commit import Commit
from sagaline_server.store.etcd.hand_off import HandingOff
from sagaline_server.store.etcd.hub import WatchHub
from sagaline_server.store.etcd.incarnation import become_incarnation, change_registration
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.lease import LeaseKeeper
from sagaline_server.store.etcd.lineage import Lineage
from sagaline_server.store.etcd.log_watch import LogWatch
from sagaline_server.store.etcd.options import EtcdOptions
from sagaline_server.store.etcd.reads import SAGAS_PER_TRANSACTION, SagaReader
from sagaline_server.store.etcd.shards import demand_whole
from sagaline_server.store.log_tail import BATCHES_PER_PAGE, LogTail

TRANSACTIONS_IN_FLIGHT = 4
"""At once, over all calls. More make each slower and the whole no faster."""
PACE = Pace(at_once=2, full=64)
"""What fills a transaction. With more at once each is smaller, which costs more than the wait is long."""
READS_AT_ONCE = 4
TAILS_AT_ONCE = 8
"""Logs that are read at once to be followed: thousands of followers lose their watch at the same moment."""
REMOVED_PER_TRANSACTION = transactions.OPERATIONS_MAX // 3

log = structlog.get_logger(__name__)


class EtcdStore:
    """`ClusterStore` shared by the SECs of one etcd cluster and prefix.

    Args:
        options: How etcd is reached.
        clock: Its boottime is what `serving_until` is on.
    """

    def __init__(self, options: EtcdOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._keys = Keys(options.prefix)
        self._lineage = Lineage()
        self._registration = log_pb2.SecRegistration()
        self._channel: EtcdChannel | None = None
        self._hub: WatchHub | None = None
        self._keeper: LeaseKeeper | None = None
        self._fence = transactions.Fence(b"", 0, b"")
        self._slots = asyncio.Semaphore(TRANSACTIONS_IN_FLIGHT)
        self._tail_slots = asyncio.Semaphore(TAILS_AT_ONCE)
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    # ---- incarnation -----------------------------------------------------------------------------------

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        if not sec_id or "/" in sec_id:
            raise ValueError(f"{sec_id!r} is no name of a SEC")
        channel = self._channel or EtcdChannel(self._options, self._lineage)
        seconds, margin = self._options.lease_seconds, self._options.lease_margin
        keeper = LeaseKeeper(channel, self._clock, seconds=seconds, margin=margin)
        registration = log_pb2.SecRegistration(address=address, version=version)
        value = registration.SerializeToString()
        try:
            await keeper.start()
            if not self._options.is_shard:
                await demand_whole(channel, self._keys)
            incarnation = await become_incarnation(channel, keeper.lease_id, self._keys.sec(sec_id), value)
        except BaseException:
            await keeper.stop()
            if self._channel is None:
                await channel.close()
            raise
        before = self._keeper
        self._channel, self._keeper, self._registration = channel, keeper, registration
        self._hub = self._hub or WatchHub(channel, self._options.silence_seconds)
        self._fence = transactions.fence(self._keys, sec_id, incarnation)
        if before is not None:  # of an incarnation that is dead now; its lease holds nothing any more
            await before.stop()
        log.info("store_opened", store="etcd", sec_id=sec_id, incarnation=incarnation)
        return incarnation

    async def close(self) -> None:
        channel, self._channel = self._channel, None
        if channel is None:
            return
        hub, self._hub = self._hub, None
        if hub is not None:
            await hub.close()
        try:
            # What is under way has deadlines of its own, and ending the lease first would fence it.
            async with asyncio.timeout(2 * self._options.call_seconds):
                await self._idle.wait()
        except TimeoutError:
            log.warning("store_close_hangs", store="etcd")
        keeper, self._keeper = self._keeper, None
        try:
            if keeper is not None:
                await keeper.stop()
        finally:
            await channel.close()

    @property
    def incarnation(self) -> int:
        return self._fence.incarnation

    @property
    def pace(self) -> Pace:
        return PACE

    @property
    def serving_until(self) -> float | None:
        if self._channel is None or self._keeper is None or self._lineage.is_broken:
            return 0.0
        return self._keeper.deadline

    @property
    def cluster_id(self) -> str:
        return f"{self._lineage.cluster_id:x}" if self._lineage.cluster_id else ""

    @property
    def revision(self) -> int:
        return self._lineage.revision

    async def register(self, *, draining: bool) -> None:
        with self._using() as channel:
            assert self._keeper is not None
            value = log_pb2.SecRegistration()
            value.CopyFrom(self._registration)
            value.draining = draining
            lease_id = self._keeper.lease_id
            if not await change_registration(channel, self._fence, lease_id, value.SerializeToString()):
                raise StoreError("the incarnation is dead")

    # ---- writing ---------------------------------------------------------------------------------------

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        if not writes:
            return []
        try:
            with self._using() as channel:
                commit = Commit(channel, self._keys, self._fence, self._slots)
                results = await commit.run(writes)
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]
        refuse_problems(commit.problems)
        return results

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        claimed: dict[str, Claim] = {}
        with self._using() as channel:
            for start in range(0, len(sagas), adoption.SAGAS_PER_TRANSACTION):
                part = sagas[start : start + adoption.SAGAS_PER_TRANSACTION]
                claimed.update({claim.saga_id: claim for claim in await self._adopt(channel, part)})
        return [claimed.get(saga.saga_id) for saga in sagas]

    async def _adopt(self, channel: EtcdChannel, sagas: Sequence[OwnedSaga]) -> list[Claim]:
        while sagas:
            async with self._slots:
                response = await channel.txn(adoption.adopt_request(self._keys, self._fence, sagas))
            if response.succeeded:
                return adoption.claims(sagas, response)
            left = adoption.still_to_have(self._fence, sagas, response)
            if len(left) == len(sagas):
                raise StoreError("etcd refused an adoption although every condition held")
            sagas = left
        return []

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        check_hand_offs(hand_offs, to, self.incarnation)
        with self._using() as channel:
            return await HandingOff(channel, self._keys, self._fence, self._slots, to).run(hand_offs)

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        for saga_id in saga_ids:
            check_saga_id(saga_id)
        distinct = list(dict.fromkeys(saga_ids))
        with self._using() as channel:
            for start in range(0, len(distinct), REMOVED_PER_TRANSACTION):
                part = distinct[start : start + REMOVED_PER_TRANSACTION]
                if dones is None:
                    await self._remove(channel, dict.fromkeys(part, 0), keep_summary=keep_summary)
                else:
                    found = await SagaReader(channel, self._keys).done_revisions(part, dones)
                    await self._remove(channel, found, keep_summary=keep_summary)

    async def _remove(self, channel: EtcdChannel, saga_ids: Mapping[str, int], *, keep_summary: bool) -> None:
        while saga_ids:
            request = transactions.remove_request(self._keys, saga_ids, keep_summary=keep_summary)
            async with self._slots:
                response = await channel.txn(request)
            if response.succeeded:
                return
            dones = transactions.found_keys(response)
            finished = {
                saga_id: revision
                for (saga_id, revision), done in zip(saga_ids.items(), dones, strict=True)
                if done is not None and revision in (0, done.mod_revision)
            }
            if len(finished) == len(saga_ids):
                raise StoreError("etcd refused a removal although every saga has finished")
            saga_ids = finished

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        check_saga_id(saga_id)
        check_control_id(control_id)
        request = transactions.control_request(self._keys, saga_id, control_id, control)
        with self._using() as channel:
            async with self._slots:
                response = await channel.txn(request)
        if response.succeeded:
            return True
        # Refused: there is no owner, or the same request is there already.
        owner = next(transactions.found_keys(response))
        return owner is not None

    async def put_condition(self, subject: str, value: bytes) -> None:
        check_subject(subject)
        with self._using() as channel:
            async with self._slots:
                await channel.txn(transactions.condition_request(self._keys, subject, value))

    # ---- reading ---------------------------------------------------------------------------------------

    async def read(self, saga_id: str) -> StoredSaga | None:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).saga(saga_id)

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        slots = asyncio.Semaphore(READS_AT_ONCE)
        parts = [
            saga_ids[start : start + SAGAS_PER_TRANSACTION] for start in range(0, len(saga_ids), SAGAS_PER_TRANSACTION)
        ]

        async def read(part: Sequence[str]) -> Sequence[StoredSaga | None]:
            async with slots:
                return await SagaReader(channel, self._keys).sagas(part)

        with self._using() as channel:
            return [saga for part in await asyncio.gather(*map(read, parts)) for saga in part]

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        check_log_range(saga_id, from_seq, limit_batches)
        with self._using() as channel:
            tail = await SagaReader(channel, self._keys).tail(saga_id, from_seq, limit_batches)
        return () if tail is None else tail.batches

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        check_limit(query.limit)
        with self._using() as channel:
            return await SagaReader(channel, self._keys).heads(query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).owned()

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).owners(saga_ids)

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).controls(saga_id)

    async def list_conditions(self) -> Sequence[StoredCondition]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).conditions()

    async def list_secs(self) -> Sequence[SecRecord]:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).secs()

    # ---- watching --------------------------------------------------------------------------------------

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        watch = ClusterWatch(self._open_hub(), self._keys, self._read_revision, self._options.relist_seconds)
        async for event in watch.events():
            yield event

    async def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        check_log_range(saga_id, from_seq)
        watch = LogWatch(self._open_hub(), self._keys, saga_id, self._read_tail, self._options.heal_seconds)
        async for part in watch.parts(from_seq):
            yield part

    def _open_hub(self) -> WatchHub:
        if self._hub is None:
            raise StoreError("the store is closed")
        return self._hub

    async def _read_revision(self) -> int:
        with self._using() as channel:
            return await SagaReader(channel, self._keys).revision()

    async def _read_tail(self, saga_id: str, from_seq: int) -> LogTail | None:
        async with self._tail_slots:
            with self._using() as channel:
                return await SagaReader(channel, self._keys).tail(saga_id, from_seq, BATCHES_PER_PAGE)

    @contextmanager
    def _using(self) -> Iterator[EtcdChannel]:
        """Keep `close` from closing the connection under the block."""
        if self._channel is None:
            raise StoreError("the store is closed")
        self._running += 1
        self._idle.clear()
        try:
            yield self._channel
        finally:
            self._running -= 1
            if self._running == 0:
                self._idle.set()
