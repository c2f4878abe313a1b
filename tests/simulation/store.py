"""`ClusterStore` of one simulated SEC: the twin's rules behind a network, and the production keeper of the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TypeVar, cast

from sagaline_server.ports.cluster import (
    RELIST_SECONDS,
    ClusterEvent,
    HandOff,
    HandOffFate,
    LogPart,
    StoredCondition,
    StoredControl,
)
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
from sagaline_server.store.checks import check_hand_offs, check_writes
from sagaline_server.store.etcd.channel import EtcdChannel, EtcdError
from sagaline_server.store.etcd.lease import LeaseKeeper
from sagaline_server.store.feed import LocalFeed, LocalWatches
from sagaline_server.store.log_tail import BATCHES_PER_PAGE, LogTail
from tests.simulation.etcd import EtcdService, Lost
from tests.simulation.processes import Process

T = TypeVar("T")

LEASE_SECONDS = 10
LEASE_MARGIN = 1.0

OnAppend = Callable[[str], None]
"""Called before a commit leaves ("before") and when its answer is there ("after"). It may kill the process."""


class LeaseChannel:
    """The calls that a LeaseKeeper makes, to the simulated etcd."""

    def __init__(self, etcd: EtcdService, process: Process) -> None:
        """Make them for a process."""
        self._etcd = etcd
        self._process = process

    async def grant(self, seconds: int) -> tuple[int, int]:
        """Make a lease."""
        return await self._etcd.ask(self._process, lambda: self._etcd.grant(seconds)), seconds

    async def keep_alive(self, lease_id: int, seconds: float) -> int:
        """Renew a lease."""
        if self._process.host.name in self._etcd.starved:
            return int(await self._etcd.ask(self._process, _never, seconds))
        return int(await self._etcd.ask(self._process, lambda: self._etcd.keep_alive(lease_id), seconds))

    async def revoke(self, lease_id: int) -> None:
        """End a lease."""
        await self._etcd.ask(self._process, lambda: self._etcd.revoke(lease_id))


class SimStore:
    """The store as one SEC sees it."""

    def __init__(self, etcd: EtcdService, process: Process, on_append: OnAppend) -> None:
        """Make a store, not yet open."""
        self._etcd = etcd
        self._process = process
        self._on_append = on_append
        self._sec_id = ""
        self._incarnation = 0
        self._keeper: LeaseKeeper | None = None
        self._revision = 0
        self._feed = LocalFeed()
        self._watches: LocalWatches | None = None
        etcd.subscribe(process, self._feed)

    # ---- incarnation

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        channel = cast("EtcdChannel", LeaseChannel(self._etcd, self._process))
        keeper = LeaseKeeper(channel, self._process.host.clock, seconds=LEASE_SECONDS, margin=LEASE_MARGIN)
        try:
            await keeper.start()
            incarnation = await self._register(keeper.lease_id, sec_id, address, version)
        except BaseException:
            await keeper.stop()
            raise
        before, self._keeper = self._keeper, keeper
        self._sec_id, self._incarnation = sec_id, incarnation
        if self._watches is None:
            self._watches = LocalWatches(self._feed, RELIST_SECONDS)
        if before is not None:
            await before.stop()
        return incarnation

    async def _register(self, lease_id: int, sec_id: str, address: str, version: str) -> int:
        for tries_left in (1, 0):
            try:
                incarnation = await self._ask(lambda: self._etcd.register(lease_id, sec_id, address, version))
            except EtcdError:
                if not tries_left:
                    raise
            else:
                if incarnation:
                    return incarnation
        raise StoreError("the lease was gone before the registration")

    async def close(self) -> None:
        watches, self._watches = self._watches, None
        if watches is not None:
            watches.close()
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await keeper.stop()

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def serving_until(self) -> float | None:
        return 0.0 if self._keeper is None else self._keeper.deadline

    @property
    def cluster_id(self) -> str:
        return self._etcd.name

    @property
    def revision(self) -> int:
        return self._revision

    async def register(self, *, draining: bool) -> None:
        if not await self._ask(lambda: self._etcd.backend.change(self._sec_id, self._incarnation, draining=draining)):
            raise StoreError("the incarnation is dead")

    # ---- writing

    @property
    def pace(self) -> Pace:
        """Let each incarnation have its own: one commit after the other up to several of a write each at once."""
        return Pace(at_once=1 + self._incarnation % 4, full=1 + self._incarnation % 2)

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        await self._append_point("before")
        middle = len(writes) // 2
        if middle:
            # As the size of a transaction may split it: each part has a fate of its own.
            parts = await asyncio.gather(self._commit(writes[:middle]), self._commit(writes[middle:]))
            results = [result for part in parts for result in part]
        else:
            results = list(await self._commit(writes))
        await self._append_point("after")
        return results

    async def _append_point(self, phase: str) -> None:
        self._on_append(phase)
        if not self._process.alive:
            await self._process.loop.create_future()  # nothing goes on from here

    async def _commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        sec_id, incarnation = self._sec_id, self._incarnation
        try:
            if self._keeper is None:
                raise StoreError("the store is closed")
            return await self._ask(lambda: self._etcd.backend.commit(sec_id, incarnation, writes))
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        return await self._ask(lambda: self._etcd.backend.put_control(saga_id, control_id, control))

    async def put_condition(self, subject: str, value: bytes) -> None:
        await self._ask(lambda: self._etcd.backend.put_condition(subject, value))

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        sec_id, incarnation = self._sec_id, self._incarnation
        return await self._ask(lambda: [self._etcd.backend.adopt(sec_id, incarnation, saga) for saga in sagas])

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        sec_id, incarnation = self._sec_id, self._incarnation
        check_hand_offs(hand_offs, to, incarnation)
        return await self._ask(lambda: self._etcd.backend.hand_off(sec_id, incarnation, hand_offs, to))

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        await self._ask(lambda: self._etcd.backend.remove(saga_ids, keep_summary=keep_summary, dones=dones))

    # ---- reading

    async def read(self, saga_id: str) -> StoredSaga | None:
        return await self._ask(lambda: self._etcd.backend.read(saga_id))

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        return await asyncio.gather(*map(self.read, saga_ids))

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        return await self._ask(lambda: self._etcd.backend.heads(query))

    async def list_owned(self) -> Sequence[OwnedSaga]:
        return await self._ask(self._etcd.backend.owned)

    async def list_secs(self) -> Sequence[SecRecord]:
        secs = self._etcd.backend.secs
        return await self._ask(lambda: [secs[name] for name in sorted(secs)])

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        return await self._ask(lambda: self._etcd.backend.controls(saga_id))

    async def list_conditions(self) -> Sequence[StoredCondition]:
        return await self._ask(self._etcd.backend.conditions)

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        return await self._ask(lambda: self._etcd.backend.owners(saga_ids))

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        tail = await self._ask(lambda: self._etcd.backend.tail(saga_id, from_seq, limit_batches))
        return () if tail is None else tail.batches

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        async for event in self._open_watches().events():
            yield event

    async def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        async for part in self._open_watches().log(self._tail, saga_id, from_seq):
            yield part

    async def _tail(self, saga_id: str, from_seq: int) -> LogTail | None:
        return await self._ask(lambda: self._etcd.backend.tail(saga_id, from_seq, BATCHES_PER_PAGE))

    def _open_watches(self) -> LocalWatches:
        if self._watches is None:
            raise StoreError("the store is closed")
        return self._watches

    async def _ask(self, act: Callable[[], T]) -> T:
        answer = await self._etcd.ask(self._process, lambda: (act(), self._etcd.backend.revision))
        self._revision = max(self._revision, answer[1])
        return answer[0]


def _never() -> float:
    """Stand for a request that gets lost."""
    raise Lost
