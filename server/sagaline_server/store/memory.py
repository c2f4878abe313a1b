"""The store in memory: the adapters' twin, with the same fence.

Several SECs share one `MemoryBackend`, as they would share an etcd. It is not
durable: what it stands for is the rules.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

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
    StoreRolledBack,
    Write,
    WriteResult,
)
from sagaline_server.store.checks import (
    check_control_id,
    check_hand_offs,
    check_log_range,
    check_saga_id,
    check_sagas,
    check_subject,
    check_writes,
)
from sagaline_server.store.feed import LocalWatches
from sagaline_server.store.log_tail import BATCHES_PER_PAGE, LogTail
from sagaline_server.store.memory_backend import FENCED, Fault, MemoryBackend, Snapshot

__all__ = ["FENCED", "Fault", "MemoryBackend", "MemoryStore", "Snapshot"]

PACE = Pace(at_once=1, full=1)
"""Its commits never wait."""


class MemoryStore:
    """`ClusterStore` over a `MemoryBackend`. No method ever waits, but watches for events.

    Args:
        backend: What is shared with other SECs.
        relist_seconds: Longest time between two Resyncs of a watch.
    """

    def __init__(self, backend: MemoryBackend, *, relist_seconds: float = RELIST_SECONDS) -> None:
        self._backend = backend
        self._relist_seconds = relist_seconds
        self._sec_id = ""
        self._incarnation = 0
        self._watches: LocalWatches | None = None
        self._seen = 0
        self._cluster_id = ""
        self._rolled_back = ""

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        self._look()
        self._sec_id = sec_id
        self._incarnation = self._backend.register(sec_id, address, version)
        self._cluster_id = self._backend.cluster_id
        if self._watches is None:
            self._watches = LocalWatches(self._backend.feed, self._relist_seconds)
        return self._incarnation

    async def close(self) -> None:
        watches, self._watches = self._watches, None
        if watches is not None:
            watches.close()
            if not self._rolled_back and self._backend.alive(self._sec_id, self._incarnation):
                self._backend.expire(self._sec_id)

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def pace(self) -> Pace:
        return PACE

    @property
    def serving_until(self) -> float | None:
        if self._watches is None or self._rolled_back or not self._backend.alive(self._sec_id, self._incarnation):
            return 0.0
        return None

    @property
    def cluster_id(self) -> str:
        return self._cluster_id

    @property
    def revision(self) -> int:
        if not self._rolled_back:
            self._seen = max(self._seen, self._backend.revision)
        return self._seen

    async def register(self, *, draining: bool) -> None:
        with self._request("register") as backend:
            if not backend.change(self._sec_id, self._incarnation, draining=draining):
                raise StoreError("the incarnation is dead")

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        try:
            with self._request("commit") as backend:
                results = backend.commit(self._sec_id, self._incarnation, writes)
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]
        return results

    async def read(self, saga_id: str) -> StoredSaga | None:
        return self._reachable().read(saga_id)

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        return [await self.read(saga_id) for saga_id in saga_ids]

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        check_log_range(saga_id, from_seq, limit_batches)
        tail = self._reachable().tail(saga_id, from_seq, limit_batches)
        return () if tail is None else tail.batches

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        return self._reachable().heads(query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        return self._reachable().owned()

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        return self._reachable().owners(saga_ids)

    async def list_secs(self) -> Sequence[SecRecord]:
        secs = self._reachable().secs
        return [secs[name] for name in sorted(secs)]

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        check_saga_id(saga_id)
        check_control_id(control_id)
        with self._request("put_control") as backend:
            return backend.put_control(saga_id, control_id, control)

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        return self._reachable().controls(saga_id)

    async def put_condition(self, subject: str, value: bytes) -> None:
        check_subject(subject)
        with self._request("put_condition") as backend:
            backend.put_condition(subject, value)

    async def list_conditions(self) -> Sequence[StoredCondition]:
        return self._reachable().conditions()

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        with self._request("adopt") as backend:
            return [backend.adopt(self._sec_id, self._incarnation, saga) for saga in sagas]

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        check_hand_offs(hand_offs, to, self._incarnation)
        with self._request("hand_off") as backend:
            return backend.hand_off(self._sec_id, self._incarnation, hand_offs, to)

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        with self._request("remove_finished") as backend:
            backend.remove(saga_ids, keep_summary=keep_summary, dones=dones)

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        self._reachable()
        assert self._watches is not None
        async for event in self._watches.events():
            yield event

    async def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        check_log_range(saga_id, from_seq)
        self._reachable()
        assert self._watches is not None
        async for part in self._watches.log(self._tail, saga_id, from_seq):
            yield part

    async def _tail(self, saga_id: str, from_seq: int) -> LogTail | None:
        return self._reachable().tail(saga_id, from_seq, BATCHES_PER_PAGE)

    @contextlib.contextmanager
    def _request(self, method: str) -> Iterator[MemoryBackend]:
        """Lose the request before it is carried out, or its answer after, as the backend's `fault` says."""
        backend = self._reachable()
        fault = backend.fault(method)
        if fault is Fault.LOSE_REQUEST:
            raise StoreError("the request was lost")
        yield backend
        if fault is Fault.LOSE_ANSWER:
            raise StoreError("the answer was lost")
        self._seen = backend.revision

    def _reachable(self) -> MemoryBackend:
        if self._watches is None:
            raise StoreError("the store is closed")
        self._look()
        return self._backend

    def _look(self) -> None:
        """See how far the store has come, and that it did not go back."""
        if not self._rolled_back and self._backend.revision < self._seen:
            self._rolled_back = f"the store is at revision {self._backend.revision}, and was at {self._seen} before"
        if self._rolled_back:
            raise StoreRolledBack(self._rolled_back)
        self._seen = self._backend.revision
