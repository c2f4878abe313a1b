"""Planted bugs in what runs sagas: store, runtime, machine, workers, ownership, retention."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from sagaline.worker.epochs import Epochs
from sagaline.worker.results import Results
from sagaline_server.core import decide, transitions, turn
from sagaline_server.core.decide import Close, Decision, Lost, Rejected
from sagaline_server.core.entries import Kind, NodeFailed
from sagaline_server.core.gate import Verdict
from sagaline_server.core.invocation import Invocation
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import Event, NodeStatus
from sagaline_server.core.values import Disposition, Failure
from sagaline_server.dispatch import results
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ownership import keeper, retention
from sagaline_server.ownership.cluster_runtime import ClusterRuntime
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.store import Append, ListQuery, Status, WriteResult
from sagaline_server.runtime import engine
from sagaline_server.runtime.commit import GroupCommit
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.recovery import Recovery
from sagaline_server.store.memory_backend import MemoryBackend, _Batch
from tests.simulation.mutants.planting import Patch, plant
from tests.simulation.network import Network
from tests.simulation.store import SimStore
from tests.simulation.world import World

STALE_SECONDS, STALE_SHARE = 4.0, 0.2
"""How long messages take that others may overtake, and how many of them do."""


def _no(*_: object) -> bool:
    return False


def _yes(*_: object) -> bool:
    return True


# ---- the store -----------------------------------------------------------------------------


@plant("no-incarnation-compare", "pause")
def _no_incarnation_compare() -> Sequence[Patch]:
    """An append does not compare the incarnation."""
    original = MemoryBackend._append

    def append(self: MemoryBackend, *args: Any, alive: bool) -> WriteResult:
        return original(self, *args, alive=True)

    return [(MemoryBackend, "_append", append)]


@plant("adopt-from-the-living", "several secs", "sec drain")
def _adopt_from_the_living() -> Sequence[Patch]:
    """An adoption does not compare the old incarnation."""
    original = MemoryBackend.adopt

    def adopt(self: MemoryBackend, sec_id: str, incarnation: int, saga: Any) -> Any:
        return original(self, sec_id, incarnation, msgspec.structs.replace(saga, incarnation=0))

    def is_alive(self: Membership, sec_id: str, incarnation: int) -> bool:
        sec = self.secs.get(sec_id)
        return sec is not None and sec.incarnation == incarnation and (not sec.draining or sec_id == self.me)

    return [(MemoryBackend, "adopt", adopt), (Membership, "is_alive", is_alive)]


@plant("double-append", "unknown outcomes")
def _double_append() -> Sequence[Patch]:
    """An append sent again is not recognised by its writer id."""
    original = MemoryBackend._append

    def append(self: MemoryBackend, write: Append, revision: int, *args: Any, **kwargs: Any) -> WriteResult:
        saga = self._sagas.get(write.claim.saga_id)
        there = None if saga is None else saga.batches.get(write.first_seq)
        if saga is None or there is None or there.writer_id != write.writer_id or saga.owner is None:
            return original(self, write, revision, *args, **kwargs)
        saga.batches[max(saga.batches) + 100] = _Batch(write.writer_id, write.batch, revision)
        return WriteResult(Status.DONE, revision)

    return [(MemoryBackend, "_append", append)]


# ---- the runtime ---------------------------------------------------------------------------


@plant("ack-before-durable")
def _ack_before_durable() -> Sequence[Patch]:
    """Results are acknowledged before they are durable."""
    original = SagaEngine._write

    def write(self: SagaEngine, live: Any, made: Any, answers: Any, consumed: Any) -> None:
        for on_decision, decision in answers:
            on_decision(decision)
        original(self, live, made, [], consumed)

    return [(SagaEngine, "_write", write)]


@plant("send-before-durable")
def _send_before_durable() -> Sequence[Patch]:
    """Invocations leave before their start is durable."""
    original = SagaEngine._write

    def write(self: SagaEngine, live: Any, made: Any, answers: Any, consumed: Any) -> None:
        before, live.state = live.state, made.saga
        self._send(live, made, 0)
        live.state = before
        made.starts.clear()
        original(self, live, made, answers, consumed)

    return [(SagaEngine, "_write", write)]


@plant("unknown-is-done", "unknown outcomes")
def _unknown_is_done() -> Sequence[Patch]:
    """An append of unknown outcome counts as done."""

    original = GroupCommit._deliver

    def deliver(self: GroupCommit, batch: Any, outcomes: Sequence[WriteResult], *, may_repeat: bool) -> Any:
        done = WriteResult(Status.DONE, 1)
        known = [done if result.status is Status.UNKNOWN else result for result in outcomes]
        return original(self, batch, known, may_repeat=may_repeat)

    return [(GroupCommit, "_deliver", deliver)]


@plant("no-self-fence", "pause")
def _no_self_fence() -> Sequence[Patch]:
    """A SEC sends although its lease may be over."""
    return [(SagaEngine, "may_send", _yes)]


@plant("no-gate-in-hand-off", "several secs")
def _no_gate_in_hand_off() -> Sequence[Patch]:
    """A saga takes turns while it is handed off."""

    async def hold(self: SagaEngine, live: Any) -> bool:
        return not live.is_gone

    return [(SagaEngine, "hold", hold)]


@plant("turn-while-writing")
def _turn_while_writing() -> Sequence[Patch]:
    """A saga takes a turn while its last one is being written."""
    enqueue, drain = SagaEngine._enqueue, SagaEngine._drain

    def enqueue_at_once(self: SagaEngine, live: Any) -> None:
        live.is_writing = False
        enqueue(self, live)

    def drain_all(self: SagaEngine) -> None:
        for live in self._queue:
            live.is_writing = False
        drain(self)

    return [(SagaEngine, "_enqueue", enqueue_at_once), (SagaEngine, "_drain", drain_all)]


@plant("append-overtakes")
def _append_overtakes() -> Sequence[Patch]:
    """The next append of a saga leaves while the one before is under way, and may be there first."""
    original = SagaEngine._write

    def write(self: SagaEngine, live: Any, made: Any, answers: Any, consumed: Any) -> None:
        original(self, live, made, answers, consumed)
        live.is_writing = False
        live.state = made.saga

    def take(self: GroupCommit, size: int) -> Any:
        batch, self._waiting = self._waiting[:size], self._waiting[size:]
        return batch

    return [(SagaEngine, "_write", write), (GroupCommit, "_take_without_pairs", take)]


@plant("no-owner-compare", "several secs")
def _no_owner_compare() -> Sequence[Patch]:
    """An append does not compare the owner, and a saga takes turns while it is handed off."""
    original = MemoryBackend._append

    def append(self: MemoryBackend, write: Append, *args: Any, **kwargs: Any) -> WriteResult:
        saga = self._sagas.get(write.claim.saga_id)
        if saga is not None and saga.owner is not None:
            claim = msgspec.structs.replace(write.claim, revision=saga.owner.revision)
            write = msgspec.structs.replace(write, claim=claim)
        return original(self, write, *args, **kwargs)

    # It is the second line of defence against a SEC that has lost a saga, so the first one is down too.
    return [(MemoryBackend, "_append", append), *_no_gate_in_hand_off()]


# ---- the machine ---------------------------------------------------------------------------


@plant("lost-is-failed", "worker crash")
def _lost_is_failed() -> Sequence[Patch]:
    """An attempt of a lost worker counts as failed without effect."""
    original = decide._lost

    def lost(saga: Saga, given: Lost, draw: float) -> Decision:
        decision = original(saga, given, draw)
        if given.kind is Kind.UNDO or not decision.entries:
            return decision
        failure = Failure("sagaline.WorkerLost", given.message)
        return Decision((NodeFailed(given.node, given.attempt, failure),))

    return [(decide, "_lost", lost)]


@plant("retry-is-failed", "retry")
def _retry_is_failed() -> Sequence[Patch]:
    """A worker that does not know counts as failed without effect."""
    original: Callable[..., Failure] = vars(results)["failure_from"]

    def failure_from(message: Any, **kwargs: Any) -> Failure:
        return msgspec.structs.replace(original(message, **kwargs), disposition=Disposition.FAIL)

    return [(results, "failure_from", failure_from)]


@plant("no-undo-in-doubt", "retry")
def _no_undo_in_doubt() -> Sequence[Patch]:
    """A node given up in doubt is not undone."""
    table: Mapping[Event, Mapping[NodeStatus, NodeStatus]] = {
        **transitions.TRANSITIONS,
        Event.GIVE_UP: {NodeStatus.RUNNING: NodeStatus.FAILED, NodeStatus.RETRYING: NodeStatus.FAILED},
    }
    return [(transitions, "TRANSITIONS", table)]


@plant("run-while-unwinding", "fail")
def _run_while_unwinding() -> Sequence[Patch]:
    """Nodes that were abandoned start while the saga unwinds."""
    original = Saga.startable
    table = {
        **transitions.TRANSITIONS,
        Event.START: {**transitions.TRANSITIONS[Event.START], NodeStatus.ABANDONED: NodeStatus.RUNNING},
    }

    def startable(self: Saga, node: int) -> Kind | None:
        kind = original(self, node)
        if kind is None and self.unwinding and self.finished is None and self.statuses[node] == NodeStatus.ABANDONED:
            flat = self.topology.nodes[node]
            ready = all(self.statuses[parent] == NodeStatus.SUCCEEDED for parent in flat.parents)
            return Kind.ACTION if ready and flat.action is not None else None
        return kind

    return [(Saga, "startable", startable), (transitions, "TRANSITIONS", table)]


@plant("undo-out-of-order", "fail")
def _undo_out_of_order() -> Sequence[Patch]:
    """A node is undone before its children."""
    original = Saga.startable

    def startable(self: Saga, node: int) -> Kind | None:
        kind = original(self, node)
        waits = self.unwinding and self.finished is None and self.statuses[node] == NodeStatus.SUCCEEDED
        return Kind.UNDO if kind is None and waits and self.topology.nodes[node].action is not None else kind

    return [(Saga, "startable", startable)]


@plant("gate-ignored", "pause saga")
def _gate_ignored() -> Sequence[Patch]:
    """Nodes start while the saga is paused."""

    def go(*_: object) -> Verdict:
        return Verdict.GO

    return [(decide, "gate", go), (turn, "gate", go)]


# ---- workers, and what is known of them ------------------------------------------------------


@plant("stale-epochs-run", "several secs", "slow network")
def _stale_epochs_run() -> Sequence[Patch]:
    """A worker runs what an owner of a lower epoch sends, where many a message takes as long as a hand-off.

    On the network as it is else, too few are overtaken by those of the next owner.
    """

    def delay(self: Network) -> float:
        return STALE_SECONDS * self._chance.random() if self._chance.random() < STALE_SHARE else self.weather.latency

    return [(Epochs, "is_stale", _no), (Network, "delay", delay)]


@plant("away-is-rejected", "worker crash")
def _away_is_rejected() -> Sequence[Patch]:
    """An attempt of a worker that stays away counts as never started."""
    original = Dispatcher._lose

    def lose(self: Dispatcher, key: Any, message: str, *, uncounted: bool = False) -> None:
        if uncounted:
            original(self, key, message, uncounted=True)
        else:
            self.sagas.ended(key[0], Rejected(key[1], key[2], key[3]))

    return [(Dispatcher, "_lose", lose)]


def _only_note(self: Results, sec: str, now: float) -> None:
    self.routes.opened(sec)


@plant("results-not-kept", "break streams")
def _results_not_kept() -> Sequence[Patch]:
    """A worker does not send its results again on a new stream."""
    return [(Results, "opened", _only_note)]


@plant("no-barrier", "detached")
def _no_barrier() -> Sequence[Patch]:
    """An action that comes after its undo has its effect."""
    original = World.undo

    def undo(self: World, key: tuple[str, str]) -> None:
        original(self, key)
        self.row(key).closed = False
        if self.row(key).undone:
            self.row(key).applied = self.row(key).undone = 0

    return [(World, "undo", undo)]


# ---- ownership -----------------------------------------------------------------------------


def _close(record: object) -> Close:
    return Close()


@plant("unlisted-is-lost", "several secs")
def _unlisted_is_lost() -> Sequence[Patch]:
    """What was taken over and is not in flight with its worker here counts as not held, without asking the worker."""
    original = Dispatcher.expect

    def expect(self: Dispatcher, worker_id: str, key: Any, action: Any, epoch: int) -> None:
        original(self, worker_id, key, action, epoch)
        session = self.sessions.get(worker_id)
        if session is not None and session.attached and key not in session.in_flight:
            del self._expected[worker_id][key]
            self._lose(key, "its worker does not hold it", uncounted=True)

    return [(Dispatcher, "expect", expect)]


async def _look_at_nothing(*_: object) -> None:
    pass


@plant("orders-forgotten", "several secs", "unwind")
def _orders_forgotten() -> Sequence[Patch]:
    """Orders from other SECs are consumed without effect, and confirmed."""
    return [(keeper, "input_from", _close), (ClusterRuntime, "_check_obeyed", _look_at_nothing)]


@plant("idle-zombie", "lease revoked")
def _idle_zombie() -> Sequence[Patch]:
    """A SEC without sagas does not notice that its lease is over."""

    async def refresh(self: Keeper) -> bool:
        return self._membership.update(await self._store.list_secs(), self._store.revision)

    def serving_until(self: SimStore) -> float:
        return max(0.0 if self._keeper is None else self._keeper.deadline, 0.001)

    return [(Keeper, "refresh", refresh), (SimStore, "serving_until", property(serving_until))]


@plant("compacts-unfinished", "retention")
def _compacts_unfinished() -> Sequence[Patch]:
    """Retention takes sagas that have not ended, and the store lets it."""

    def remove(self: MemoryBackend, saga_ids: Iterable[str], **_: object) -> None:
        for saga_id in saga_ids:
            if saga_id in self._sagas:
                self._sagas[saga_id].batches.clear()

    def all_of_them(after_id: str, limit: int, **_: object) -> ListQuery:
        return ListQuery(after_id, limit)

    return [
        (MemoryBackend, "remove", remove),
        (retention, "ListQuery", all_of_them),
        (retention, "_ended", lambda _head: 1.0),
    ]


@plant("end-lost", "retention")
def _end_lost() -> Sequence[Patch]:
    """Compaction takes the summary with the log."""

    def remove(self: MemoryBackend, saga_ids: Iterable[str], **_: object) -> None:
        for saga_id in saga_ids:
            saga = self._sagas.get(saga_id)
            if saga is not None and saga.done is not None:
                saga.batches.clear()
                saga.done = b""

    return [(MemoryBackend, "remove", remove)]


# ---- what stays the same, and who is told -------------------------------------------------------


@plant("inputs-from-the-attempt", "retry")
def _inputs_from_the_attempt() -> Sequence[Patch]:
    """A node that is tried again has other inputs."""
    original: Callable[..., Invocation] = vars(engine)["invocation"]

    def invocation(saga: Saga, node: int, kind: Kind) -> Invocation:
        made = original(saga, node, kind)
        return made if made.attempt == 1 else msgspec.structs.replace(made, inputs=made.inputs[1:])

    return [(engine, "invocation", invocation)]


@plant("undo-forgets-the-output", "several secs", "fail")
def _undo_forgets_the_output() -> Sequence[Patch]:
    """An undo that is tried again is not told the action's output."""
    original: Callable[..., Invocation] = vars(engine)["invocation"]

    def invocation(saga: Saga, node: int, kind: Kind) -> Invocation:
        made = original(saga, node, kind)
        return made if made.attempt == 1 else msgspec.structs.replace(made, action_output=None)

    return [(engine, "invocation", invocation)]


@plant("pivot-unwound", "pivots", "unwind")
def _pivot_unwound() -> Sequence[Patch]:
    """A saga unwinds on request although its pivot is in doubt or has succeeded."""
    return [(Saga, "is_committed", _no)]


@plant("nobody-alarmed", "several secs")
def _nobody_alarmed() -> Sequence[Patch]:
    """A new owner does not count a saga that needs an operator."""
    begin = Recovery._begin

    def begin_quietly(self: Recovery, live: Any, deadline: float | None) -> None:
        begin(self, live, deadline)
        self._engine.need_operator.discard(live.saga_id)

    return [(Recovery, "_begin", begin_quietly)]


@plant("orphans-left", "several secs", "sec crash")
def _orphans_left() -> Sequence[Patch]:
    """Nobody takes the sagas of a dead SEC."""
    original: Callable[..., Any] = vars(keeper)["plan_adoption"]

    def plan(orphans: Sequence[str], me: str, candidates: Sequence[str]) -> Any:
        return original([], me, candidates)

    return [(keeper, "plan_adoption", plan)]
