"""What the SECs of a cluster share when the store is in memory, and the rules by which it changes.

Nothing here reads a clock, draws a random number or waits, so a simulation
that drives it is deterministic. Changes are told to the watches before the
call that made them returns.
"""

from __future__ import annotations

import bisect
import copy
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from sagaline_server.ports.cluster import (
    ConditionsChanged,
    ControlGone,
    ControlPut,
    HandOff,
    HandOffFate,
    SecsChanged,
    StoredCondition,
    StoredControl,
    hand_off_id,
)
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
    Write,
    WriteResult,
)
from sagaline_server.store.checks import check_limit, check_writes, conflict, in_order, refuse_problems
from sagaline_server.store.feed import LocalFeed
from sagaline_server.store.log_tail import LogTail, log_tail

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
    successors: dict[int, OwnedSaga] = {}
    """Who owned it next, by the revision of the claim that was given up or lost."""


class Snapshot(msgspec.Struct, frozen=True):
    """All that is stored, at one instant."""

    revision: int
    secs: dict[str, SecRecord]
    sagas: dict[str, _Saga]
    controls: dict[str, dict[str, bytes]]
    ids: list[str]
    conditions: dict[str, bytes]


class MemoryBackend:
    """What the SECs of one cluster share.

    Args:
        fault: Asked before each request that changes something, with the name of the method.
        cluster_id: Which cluster it is.
    """

    def __init__(self, fault: Callable[[str], Fault] = lambda _: Fault.NONE, cluster_id: str = "memory") -> None:
        self.fault = fault
        self.cluster_id = cluster_id
        self.feed = LocalFeed()
        self.revision = 0
        self.secs: dict[str, SecRecord] = {}
        self._sagas: dict[str, _Saga] = {}
        self._controls: dict[str, dict[str, bytes]] = {}
        self._ids: list[str] = []
        self._conditions: dict[str, bytes] = {}

    def register(self, sec_id: str, address: str, version: str) -> int:
        """Make a new incarnation; an older one of the same name is dead from here on."""
        self.revision += 1
        self.secs[sec_id] = SecRecord(sec_id, self.revision, address, version)
        self.feed.tell(SecsChanged())
        return self.revision

    def change(self, sec_id: str, incarnation: int, *, draining: bool) -> bool:
        """Change a registration; False when the incarnation is dead."""
        if not self.alive(sec_id, incarnation):
            return False
        self.revision += 1
        self.secs[sec_id] = msgspec.structs.replace(self.secs[sec_id], draining=draining)
        self.feed.tell(SecsChanged())
        return True

    def expire(self, sec_id: str) -> None:
        """Let the incarnation of this name die, as a lease does that nobody keeps alive."""
        if self.secs.pop(sec_id, None):
            self.revision += 1
            self.feed.tell(SecsChanged())

    def alive(self, sec_id: str, incarnation: int) -> bool:
        """Tell whether this incarnation lives."""
        sec = self.secs.get(sec_id)
        return sec is not None and sec.incarnation == incarnation

    def commit(self, sec_id: str, incarnation: int, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out the writes whose conditions hold, as one transaction with one revision."""
        check_writes(writes)
        revision = self.revision + 1
        alive = self.alive(sec_id, incarnation)
        problems: dict[str, str] = {}
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
        self.feed.tell_log(write.saga_id)
        return WriteResult(Status.DONE, revision, Claim(write.saga_id, 1, revision))

    def _append(self, write: Append, revision: int, problems: dict[str, str], *, alive: bool) -> WriteResult:
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
                problems[write.claim.saga_id] = conflict(write)
            return FENCED
        if not holds:
            # Its log may have been removed since it finished the saga.
            finished_by_me = write.done is not None and saga.done == write.done and not saga.batches
            return WriteResult(Status.DONE, saga.done_revision) if finished_by_me else FENCED
        saga.batches[write.first_seq] = _Batch(write.writer_id, write.batch, revision)
        result = self._consume(write, revision)
        if write.done is not None:
            saga.done, saga.done_revision, saga.owner = write.done, revision, None
            for control_id in self._controls.pop(write.claim.saga_id, {}):
                self.feed.tell(ControlGone(write.claim.saga_id, control_id))
        self.feed.tell_log(write.claim.saga_id)
        return result

    def _consume(self, write: Append, revision: int) -> WriteResult:
        controls = self._controls.get(write.claim.saga_id, {})
        for control_id in write.consumes:
            if controls.pop(control_id, None) is not None:
                self.feed.tell(ControlGone(write.claim.saga_id, control_id))
        return WriteResult(Status.DONE, revision)

    def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        """Put a request for the owner, if there is one."""
        saga = self._sagas.get(saga_id)
        if saga is None or saga.owner is None:
            return False
        if control_id not in self._controls.setdefault(saga_id, {}):
            self.revision += 1
            self._controls[saga_id][control_id] = control
            self.feed.tell(ControlPut(StoredControl(saga_id, control_id, control)))
        return True

    def controls(self, saga_id: str | None) -> list[StoredControl]:
        """Read the requests of one saga, or of all."""
        sagas = self._controls if saga_id is None else {saga_id: self._controls.get(saga_id, {})}
        found = [StoredControl(saga, id_, control) for saga, some in sagas.items() for id_, control in some.items()]
        return in_order(found)

    def put_condition(self, subject: str, value: bytes) -> None:
        """Set the condition of a subject, or lift it."""
        if value:
            self._conditions[subject] = value
        else:
            self._conditions.pop(subject, None)
        self.revision += 1
        self.feed.tell(ConditionsChanged())

    def conditions(self) -> list[StoredCondition]:
        """Read all conditions."""
        given = self._conditions
        return [StoredCondition(subject, given[subject]) for subject in sorted(given, key=str.encode)]

    def adopt(self, sec_id: str, incarnation: int, saga: OwnedSaga) -> Claim | None:
        """Claim one saga, if this incarnation lives, the owner is as it was read, and the old one is dead."""
        stored = self._sagas.get(saga.saga_id)
        if stored is None or stored.owner is None or stored.owner.revision != saga.revision:
            return None
        if not self.alive(sec_id, incarnation) or self.alive(saga.sec_id, saga.incarnation):
            return None
        owner = self._pass_on(stored, stored.owner, sec_id, incarnation)
        return Claim(owner.saga_id, owner.epoch, owner.revision)

    def hand_off(self, sec_id: str, incarnation: int, hand_offs: Sequence[HandOff], to: SecRecord) -> list[HandOffFate]:
        """Make another SEC the owner of sagas, each on its own conditions."""
        return [self._hand_off(sec_id, incarnation, hand_off, to) for hand_off in hand_offs]

    def _hand_off(self, sec_id: str, incarnation: int, hand_off: HandOff, to: SecRecord) -> HandOffFate:
        claim = hand_off.claim
        stored = self._sagas.get(claim.saga_id)
        if stored is None:
            return HandOffFate.FENCED
        if stored.owner is None or stored.owner.revision != claim.revision:
            successor = stored.successors.get(claim.revision)
            if successor is None or (successor.sec_id, successor.incarnation) != (to.sec_id, to.incarnation):
                return HandOffFate.FENCED
            return HandOffFate.DONE  # sent again
        if not self.alive(sec_id, incarnation):
            return HandOffFate.FENCED
        if not self.alive(to.sec_id, to.incarnation):
            return HandOffFate.TARGET_GONE
        self._pass_on(stored, stored.owner, to.sec_id, to.incarnation)
        self.put_control(claim.saga_id, hand_off_id(claim), hand_off.control)
        return HandOffFate.DONE

    def _pass_on(self, saga: _Saga, owner: OwnedSaga, sec_id: str, incarnation: int) -> OwnedSaga:
        self.revision += 1
        new = OwnedSaga(owner.saga_id, sec_id, incarnation, owner.epoch + 1, self.revision)
        saga.owner = saga.successors[owner.revision] = new
        return new

    def read(self, saga_id: str) -> StoredSaga | None:
        """Read one saga."""
        saga = self._sagas.get(saga_id)
        if saga is None:
            return None
        batches = tuple(saga.batches[seq].data for seq in sorted(saga.batches))
        return StoredSaga(saga_id, saga.record, batches, saga.owner, saga.done)

    def tail(self, saga_id: str, from_seq: int, limit: int) -> LogTail | None:
        """Read a page of a saga's log from an entry on; None where there is no such saga."""
        saga = self._sagas.get(saga_id)
        if saga is None:
            return None
        seqs = sorted(saga.batches)
        start = max(0, bisect.bisect_right(seqs, from_seq) - 1)
        found = [(seq, saga.batches[seq].data) for seq in seqs[start : start + limit + 2]]
        return log_tail(found, from_seq, limit, is_done=saga.done is not None, revision=self.revision)

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

    def owners(self, saga_ids: Sequence[str]) -> list[OwnedSaga | None]:
        """Read who owns these sagas."""
        sagas = (self._sagas.get(saga_id) for saga_id in saga_ids)
        return [None if saga is None else saga.owner for saga in sagas]

    def remove(self, saga_ids: Iterable[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None) -> None:
        """Remove the logs of finished sagas, or all of them; with `dones` only of those that ended so."""
        for saga_id in saga_ids:
            saga = self._sagas.get(saga_id)
            if saga is None or saga.done is None or (dones is not None and saga.done != dones.get(saga_id)):
                continue
            self.revision += 1
            if keep_summary:
                saga.batches.clear()
            else:
                del self._sagas[saga_id]
                del self._ids[bisect.bisect_left(self._ids, saga_id)]
            self.feed.tell_log(saga_id)

    def snapshot(self) -> Snapshot:
        """Return a copy of all that is stored."""
        return Snapshot(
            *copy.deepcopy((self.revision, self.secs, self._sagas, self._controls, self._ids, self._conditions))
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Put back what was stored once; nothing tells the SECs, but what they find."""
        now = copy.deepcopy(snapshot)
        self.revision, self.secs = now.revision, now.secs
        self._sagas, self._controls, self._ids = now.sagas, now.controls, now.ids
        self._conditions = now.conditions
        self.feed.tell_lost()
