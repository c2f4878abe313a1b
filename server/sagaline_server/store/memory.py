"""The store in memory: the adapters' twin, with the same fence.

Several SECs share one `MemoryBackend`, as they would share an etcd. Nothing
here reads a clock, draws a random number or waits, so a simulation that drives
it is deterministic. It is not durable: what it stands for is the rules.
"""

from __future__ import annotations

import bisect
import contextlib
import enum
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from sagaline_server.ports.cluster import StoredControl
from sagaline_server.ports.store import (
    Append,
    Claim,
    ListedSaga,
    ListQuery,
    NewSaga,
    OwnedSaga,
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
    check_limit,
    check_saga_id,
    check_sagas,
    check_writes,
    conflict,
    in_order,
    refuse_problems,
)

FENCED = WriteResult(Status.FENCED)


class Fault(enum.Enum):
    """What can happen to one request on its way."""

    NONE = "none"
    LOSE_REQUEST = "lose request"
    """It never arrives."""
    LOSE_ANSWER = "lose answer"
    """It is carried out, and nobody hears of it."""


class _Batch(msgspec.Struct, frozen=True):
    writer_id: bytes
    data: bytes
    revision: int


class _Saga(msgspec.Struct):
    record: bytes
    listed: ListedSaga
    owner: OwnedSaga | None
    batches: dict[int, _Batch]
    done: bytes | None = None
    done_revision: int = 0


class MemoryBackend:
    """What the SECs of one cluster share.

    Args:
        fault: Asked before each request that changes something, with the name of the method.
    """

    def __init__(self, fault: Callable[[str], Fault] = lambda _: Fault.NONE) -> None:
        self.fault = fault
        self.revision = 0
        self.secs: dict[str, SecRecord] = {}
        self._sagas: dict[str, _Saga] = {}
        self._controls: dict[str, dict[str, bytes]] = {}
        self._ids: list[str] = []

    def register(self, sec_id: str, address: str, version: str) -> int:
        """Make a new incarnation; an older one of the same name is dead from here on."""
        self.revision += 1
        self.secs[sec_id] = SecRecord(sec_id, self.revision, address, version)
        return self.revision

    def expire(self, sec_id: str) -> None:
        """Let the incarnation of this name die, as a lease does that nobody keeps alive."""
        if self.secs.pop(sec_id, None):
            self.revision += 1

    def alive(self, sec_id: str, incarnation: int) -> bool:
        """Tell whether this incarnation lives."""
        sec = self.secs.get(sec_id)
        return sec is not None and sec.incarnation == incarnation

    def commit(self, sec_id: str, incarnation: int, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out the writes whose conditions hold, as one transaction with one revision."""
        check_writes(writes)
        revision = self.revision + 1
        alive = self.alive(sec_id, incarnation)
        problems: list[str] = []
        results = [
            self._create(write, sec_id, incarnation, revision, alive=alive)
            if isinstance(write, NewSaga)
            else self._append(write, revision, problems, alive=alive)
            for write in writes
        ]
        if any(result.revision == revision for result in results):
            self.revision = revision
        refuse_problems(problems)
        return results

    def _create(self, write: NewSaga, sec_id: str, incarnation: int, revision: int, *, alive: bool) -> WriteResult:
        saga = self._sagas.get(write.saga_id)
        if saga is not None:
            first = saga.batches.get(1)
            if first is not None and first.writer_id == write.writer_id:
                claim = Claim(write.saga_id, 1, first.revision)
                return WriteResult(Status.DONE, first.revision, claim)
            return WriteResult(Status.EXISTS, record=saga.record) if alive else FENCED
        if not alive:
            return FENCED
        owner = OwnedSaga(write.saga_id, sec_id, incarnation, 1, revision)
        first = _Batch(write.writer_id, write.batch, revision)
        self._sagas[write.saga_id] = _Saga(write.record, write.listed, owner, {1: first})
        bisect.insort(self._ids, write.saga_id)
        return WriteResult(Status.DONE, revision, Claim(write.saga_id, 1, revision))

    def _append(self, write: Append, revision: int, problems: list[str], *, alive: bool) -> WriteResult:
        saga = self._sagas.get(write.claim.saga_id)
        if saga is None:
            return FENCED
        holds = alive and saga.owner is not None and saga.owner.revision == write.claim.revision
        if not write.batch:
            return self._consume(write, revision) if holds else FENCED
        there = saga.batches.get(write.first_seq)
        if there is not None:
            if there.writer_id == write.writer_id:
                return WriteResult(Status.DONE, there.revision)
            if holds:
                problems.append(conflict(write))
            return FENCED
        if not holds:
            # Its log may have been removed since it finished the saga.
            finished_by_me = write.done is not None and saga.done == write.done and not saga.batches
            return WriteResult(Status.DONE, saga.done_revision) if finished_by_me else FENCED
        saga.batches[write.first_seq] = _Batch(write.writer_id, write.batch, revision)
        if write.done is not None:
            saga.done, saga.done_revision, saga.owner = write.done, revision, None
            self._controls.pop(write.claim.saga_id, None)
        return self._consume(write, revision)

    def _consume(self, write: Append, revision: int) -> WriteResult:
        controls = self._controls.get(write.claim.saga_id, {})
        for control_id in write.consumes:
            controls.pop(control_id, None)
        return WriteResult(Status.DONE, revision)

    def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        """Put a request for the owner, if there is one."""
        saga = self._sagas.get(saga_id)
        if saga is None or saga.owner is None:
            return False
        self.revision += 1
        self._controls.setdefault(saga_id, {}).setdefault(control_id, control)
        return True

    def controls(self, saga_id: str | None) -> list[StoredControl]:
        """Read the requests of one saga, or of all."""
        sagas = self._controls if saga_id is None else {saga_id: self._controls.get(saga_id, {})}
        found = [StoredControl(saga, id_, control) for saga, some in sagas.items() for id_, control in some.items()]
        return in_order(found)

    def adopt(self, sec_id: str, incarnation: int, saga: OwnedSaga) -> Claim | None:
        """Claim one saga, if this incarnation lives, the owner is as it was read, and the old one is dead."""
        stored = self._sagas.get(saga.saga_id)
        if stored is None or stored.owner is None or stored.owner.revision != saga.revision:
            return None
        if not self.alive(sec_id, incarnation) or self.alive(saga.sec_id, saga.incarnation):
            return None
        self.revision += 1
        epoch = stored.owner.epoch + 1
        stored.owner = OwnedSaga(saga.saga_id, sec_id, incarnation, epoch, self.revision)
        return Claim(saga.saga_id, epoch, self.revision)

    def read(self, saga_id: str) -> StoredSaga | None:
        """Read one saga."""
        saga = self._sagas.get(saga_id)
        if saga is None:
            return None
        batches = tuple(saga.batches[seq].data for seq in sorted(saga.batches))
        return StoredSaga(saga_id, saga.record, batches, saga.owner, saga.done)

    def heads(self, query: ListQuery) -> list[StoredHead]:
        """Read a page of sagas."""
        check_limit(query.limit)
        heads: list[StoredHead] = []
        for saga_id in self._ids[bisect.bisect_right(self._ids, query.after_id) :]:
            saga = self._sagas[saga_id]
            if query.graph_name not in (None, saga.listed.graph_name):
                continue
            if query.unfinished not in (None, saga.done is None):
                continue
            heads.append(StoredHead(saga_id, saga.record, saga.done, saga.owner))
            if len(heads) == query.limit:
                break
        return heads

    def owned(self) -> list[OwnedSaga]:
        """Read every unfinished saga's owner."""
        owners = (self._sagas[saga_id].owner for saga_id in self._ids)
        return [owner for owner in owners if owner is not None]

    def remove(self, saga_ids: Iterable[str], *, keep_summary: bool) -> None:
        """Remove the logs of finished sagas, or all of them."""
        for saga_id in saga_ids:
            saga = self._sagas.get(saga_id)
            if saga is None or saga.done is None:
                continue
            self.revision += 1
            if keep_summary:
                saga.batches.clear()
            else:
                del self._sagas[saga_id]
                del self._ids[bisect.bisect_left(self._ids, saga_id)]


class MemoryStore:
    """`SagaStore` over a `MemoryBackend`. No method ever waits."""

    def __init__(self, backend: MemoryBackend) -> None:
        self._backend = backend
        self._sec_id = ""
        self._incarnation = 0
        self._open = False

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        self._sec_id = sec_id
        self._incarnation = self._backend.register(sec_id, address, version)
        self._open = True
        return self._incarnation

    async def close(self) -> None:
        if self._open and self._backend.alive(self._sec_id, self._incarnation):
            self._backend.expire(self._sec_id)
        self._open = False

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def serving_until(self) -> float | None:
        alive = self._open and self._backend.alive(self._sec_id, self._incarnation)
        return None if alive else 0.0

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        if not self._open:
            return [WriteResult(Status.UNKNOWN, error="the store is closed") for _ in writes]
        fault = self._backend.fault("commit")
        if fault is Fault.LOSE_REQUEST:
            return [WriteResult(Status.UNKNOWN, error="the request was lost") for _ in writes]
        results = self._backend.commit(self._sec_id, self._incarnation, writes)
        if fault is Fault.LOSE_ANSWER:
            return [WriteResult(Status.UNKNOWN, error="the answer was lost") for _ in writes]
        return results

    async def read(self, saga_id: str) -> StoredSaga | None:
        return self._reachable().read(saga_id)

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        return self._reachable().heads(query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        return self._reachable().owned()

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

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        with self._request("adopt") as backend:
            return [backend.adopt(self._sec_id, self._incarnation, saga) for saga in sagas]

    async def remove_finished(self, saga_ids: Sequence[str], *, keep_summary: bool) -> None:
        with self._request("remove_finished") as backend:
            backend.remove(saga_ids, keep_summary=keep_summary)

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

    def _reachable(self) -> MemoryBackend:
        if not self._open:
            raise StoreError("the store is closed")
        return self._backend
