"""`apply`: the only change of a saga's state, used live and in recovery alike.

It is called with entries in the order of the log, and checks that they are in
a legal order before it changes anything. What follows from an entry without
anybody's doing (instant nodes pass, pending nodes are abandoned when the saga
turns) happens here too, so that it needs no entry of its own: in `passing` and
`unwinding`.

Two counts carry the order of nodes. Going forward, `waiting[n]` is the number
of parents that have not succeeded; when the saga turns, it becomes the number
of children that are not settled. A node may start, or be undone, at zero.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, get_args

from sagaline_server.core import faults, plain, runs, signals
from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Entry,
    FaultInjected,
    FaultStruck,
    GateChanged,
    Kind,
    MapExpanded,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    NodeUndone,
    OperatorResolved,
    Outcome,
    OwnerChanged,
    QuarantineChanged,
    Resolution,
    SagaCreated,
    SagaFinished,
    SagaState,
    SignalReceived,
    Stamped,
    UndoAttemptEnded,
    UndoAttemptStarted,
    UndoFailed,
    UndoneHow,
    UnwindCause,
    UnwindRequested,
)
from sagaline_server.core.gate import is_held
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.growth import room
from sagaline_server.core.maps import is_bound, list_of
from sagaline_server.core.passing import grown, passed, unblocked
from sagaline_server.core.state import NO_RUN, Run, Saga
from sagaline_server.core.timeouts import note_ready
from sagaline_server.core.transitions import SETTLED, Event, NodeStatus, next_status
from sagaline_server.core.unwinding import settle, turn, turn_for, undo_if_instant
from sagaline_server.core.values import Failure, FailureSource, Payload, SelectionError


class IllegalEntry(Exception):
    """An entry that may not follow the log before it. The state has not changed.

    From a stored log: the log is not one that a SEC writes; quarantine the
    saga. From a live decision: a programming error.
    """

    def __init__(self, seq: int, entry: Entry, why: str) -> None:
        super().__init__(f"entry {seq}, {type(entry).__name__}: {why}")
        self.seq = seq
        self.entry = entry


def apply(saga: Saga, stamped: Stamped) -> Saga:
    """Change `saga` by one entry and return it.

    Raises:
        IllegalEntry: The entry may not come here. Nothing has changed.
    """
    course = plain.COURSES.get(type(stamped.entry))
    if course is not None and stamped.seq == saga.seq + 1 and course(saga, stamped.entry, stamped.time):
        saga.seq = stamped.seq
        saga.updated = stamped.time
        return saga
    return by_reference(saga, stamped)


def by_reference(saga: Saga, stamped: Stamped) -> Saga:
    """Do what `apply` does, whatever the entry; what `plain` does is the same, and sooner done."""
    entry = stamped.entry
    if stamped.seq != saga.seq + 1:
        raise IllegalEntry(stamped.seq, entry, f"the log goes on with entry {saga.seq + 1}")
    if (saga.seq == 0) != isinstance(entry, SagaCreated):
        raise IllegalEntry(stamped.seq, entry, "a log begins with saga_created, and has one")
    if saga.finished is not None:
        raise IllegalEntry(stamped.seq, entry, "the saga has ended")
    woken = len(saga.woken)
    _Step(saga, stamped).take()
    if saga.topology.is_hurried:
        note_ready(saga, woken, stamped.time)
    saga.seq = stamped.seq
    saga.updated = stamped.time
    return saga


class _Step:
    """One entry on its way into the state."""

    __slots__ = ("entry", "saga", "seq", "time")

    def __init__(self, saga: Saga, stamped: Stamped) -> None:
        self.saga = saga
        self.entry = stamped.entry
        self.seq = stamped.seq
        self.time = stamped.time

    def take(self) -> None:
        self.arms[type(self.entry)](self, self.entry)

    def _owner_changed(self, entry: OwnerChanged) -> None:
        """Nothing of the state depends on who owns the saga."""

    def _illegal(self, why: str) -> IllegalEntry:
        return IllegalEntry(self.seq, self.entry, why)

    def _node(self, name: str) -> int:
        node = self.saga.topology.index.get(name)
        if node is None:
            raise self._illegal(f"the graph has no node {name!r}")
        if self.saga.topology.nodes[node].action is None:
            raise self._illegal(f"node {name!r} is of no kind that a worker runs")
        return node

    def _waiting(self, name: str) -> int | None:
        """Return the node if it waits for a time or a signal."""
        node = self.saga.topology.index.get(name)
        return node if node is not None and self.saga.is_waiting(node) else None

    def _waiting_map(self, name: str) -> int | None:
        """Return the node if it is a map that waits for its list to be looked at."""
        node = self._waiting(name)
        return node if node is not None and self.saga.topology.nodes[node].map is not None else None

    def _check(self, node: int, event: Event) -> NodeStatus:
        """Return the node's next status; nothing has changed yet."""
        status = self.saga.status(node)
        new = next_status(status, event)
        if new is None:
            name = self.saga.topology.nodes[node].name
            raise self._illegal(f"node {name!r} is {status.name}, and then {event.value} can't be")
        return new

    # ---- the saga as a whole

    def _saga_created(self, entry: SagaCreated) -> None:
        saga = self.saga
        if entry.digest != saga.digest:
            raise self._illegal("the log is not of this record: their digests differ")
        saga.created = self.time
        saga.paused = entry.paused
        if entry.start_delay is not None:
            saga.starts = self.time + entry.start_delay
        for node, flat in enumerate(saga.topology.nodes):
            if not flat.parents:
                unblocked(saga, node, self.time)

    def _saga_finished(self, entry: SagaFinished) -> None:
        expected = SagaState.UNWOUND if self.saga.unwinding else SagaState.SUCCEEDED
        if entry.state is not expected:
            raise self._illegal(f"the saga can only end as {expected.name}")
        if self.saga.remaining:
            raise self._illegal(f"{self.saga.remaining} nodes are not done")
        self.saga.finished = entry.state

    def _unwind_requested(self, entry: UnwindRequested) -> None:
        saga = self.saga
        if saga.unwinding:
            raise self._illegal("the saga unwinds already")
        self._check_turn(None)
        kind = "sagaline.DeadlinePassed" if entry.cause is UnwindCause.DEADLINE else "sagaline.UnwindRequested"
        source = FailureSource.TIMEOUT if entry.cause is UnwindCause.DEADLINE else FailureSource.OPERATOR
        turn(saga, None, Failure(type=kind, message=entry.reason, source=source), self.time)

    def _gate_changed(self, entry: GateChanged) -> None:
        saga = self.saga
        saga.paused = entry.paused
        saga.steps = entry.steps
        saga.breakpoints = entry.breakpoints
        saga.gate_changed = self.time
        if not entry.paused or entry.steps:
            saga.woken.extend(range(len(saga.statuses)))

    def _quarantine_changed(self, entry: QuarantineChanged) -> None:
        self.saga.quarantined = entry.reason if entry.quarantined else None
        self.saga.gate_changed = self.time
        if not entry.quarantined:
            self.saga.woken.extend(range(len(self.saga.statuses)))

    def _fault_injected(self, entry: FaultInjected) -> None:
        if entry.times < 1:
            raise self._illegal("a fault strikes once at least")
        faults.injected(self.saga, self._node(entry.node), entry)

    def _fault_struck(self, entry: FaultStruck) -> None:
        node = self._node(entry.node)
        if not faults.left(self.saga, node, entry.fault):
            raise self._illegal(f"node {entry.node!r} has no such fault")
        faults.struck(self.saga, node, entry)

    def _signal_received(self, entry: SignalReceived) -> None:
        saga = self.saga
        if entry.signal not in saga.topology.signals or saga.unwinding:
            raise self._illegal("nothing waits for that signal, or ever will")
        if entry.request_id and entry.request_id in saga.signal_ids:
            raise self._illegal("that signal has arrived before")
        node = signals.receive(saga, entry)
        if node is not None:
            saga.statuses[node] = self._check(node, Event.PASS)
            passed(saga, node, self.time)

    def _pass_gate(self, node: int, kind: Kind, *, stepped: bool) -> None:
        """Use a step up. A start that a gate should have held is no breach: a release may come to hold more."""
        saga = self.saga
        if saga.steps and (stepped or is_held(saga, node, kind)):
            saga.steps -= 1

    # ---- going forward

    def _attempt_started(self, entry: AttemptStarted) -> None:
        saga = self.saga
        node = self._node(entry.node)
        new = self._check(node, Event.START)
        if saga.startable(node) is not Kind.ACTION:
            raise self._illegal("the saga unwinds, or a parent has not succeeded, or an attempt is in flight")
        old = saga.runs.get(node, NO_RUN)
        if entry.attempt != old.attempt + 1:
            raise self._illegal(f"the next attempt of node {entry.node!r} is {old.attempt + 1}")
        self._pass_gate(node, Kind.ACTION, stepped=entry.stepped)
        saga.runs[node] = runs.started(old, entry.worker_id, self.time)
        saga.statuses[node] = new

    def _attempt_ended(self, entry: AttemptEnded) -> None:
        saga = self.saga
        node = self._node(entry.node)
        run = self._open_attempt(saga.runs.get(node, NO_RUN), entry.attempt)
        new = self._check(node, self._end_event(node, run, entry))
        saga.runs[node] = runs.ended(run, entry, self.time)
        if new == NodeStatus.PENDING and saga.unwinds(node):
            saga.statuses[node] = new
            settle(saga, node, NodeStatus.ABANDONED, self.time)
            return
        saga.statuses[node] = new
        saga.woken.append(node)

    def _end_event(self, node: int, run: Run, entry: AttemptEnded) -> Event:
        current = entry.attempt == run.in_flight
        decides = current and self.saga.statuses[node] == NodeStatus.RUNNING
        if decides is entry.answered_late:
            raise self._illegal("late are the answers that decide nothing, and no others")
        if entry.held and (not decides or entry.outcome is not Outcome.UNKNOWN):
            raise self._illegal("only an attempt of unknown outcome, in time, holds its node")
        if entry.overdue and (not decides or entry.held or entry.outcome is not Outcome.UNKNOWN):
            raise self._illegal("only an attempt of unknown outcome, in flight, is overdue")
        if entry.outcome is Outcome.REJECTED:
            if not current:
                raise self._illegal("an attempt given up before can't be rejected any more")
            return Event.ANSWER_LATE if not decides else Event.REJECT if run.sent == 1 else Event.RETRY
        if not decides:
            return Event.ANSWER_LATE
        if entry.outcome is not Outcome.UNKNOWN:
            raise self._illegal("a definite outcome decides the node")
        return Event.HOLD if entry.held else Event.RETRY

    def _map_expanded(self, entry: MapExpanded) -> None:
        node = self._waiting_map(entry.node)
        if node is None:
            raise self._illegal("no map of that name waits for its list")
        try:
            elements = list_of(self.saga, node)
        except SelectionError as error:
            raise self._illegal(str(error)) from None
        if entry.count != len(elements):
            raise self._illegal(f"its list has {len(elements)} elements")
        if problem := room(self.saga.topology, node, entry.count):
            raise self._illegal(problem)
        grown(self.saga, node, elements, self.time)

    def _node_succeeded(self, entry: NodeSucceeded) -> None:
        waiting = self._waiting(entry.node)
        if waiting is not None:
            if entry.attempt or self.saga.topology.nodes[waiting].delay is None:
                raise self._illegal("a signal node succeeds by its signal, and a delay without an attempt")
            self._succeed(waiting, self._check(waiting, Event.PASS), entry.output)
            return
        node = self._node(entry.node)
        new = self._check(node, Event.SUCCEED)
        run = self._open_attempt(self.saga.runs.get(node, NO_RUN), entry.attempt)
        self.saga.runs[node] = runs.answered(run, entry.attempt)
        self._succeed(node, new, entry.output)

    def _succeed(self, node: int, new: NodeStatus, output: Payload) -> None:
        saga = self.saga
        saga.statuses[node] = new
        saga.outputs[node] = output
        if saga.unwinds(node):
            saga.woken.append(node)
            undo_if_instant(saga, node, self.time)
        else:
            passed(saga, node, self.time)

    def _node_failed(self, entry: NodeFailed) -> None:
        saga = self.saga
        waiting = self._waiting(entry.node)
        node = self._node(entry.node) if waiting is None else waiting
        new = self._check(node, Event.GIVE_UP if entry.effect_unknown else Event.FAIL)
        run = saga.runs.get(node, NO_RUN)
        self._check_failure(node, run, entry)
        self._check_turn(node, in_doubt=entry.effect_unknown)
        given_up = entry.effect_unknown and entry.attempt != run.in_flight
        saga.runs[node] = runs.failed(run, 0 if given_up else entry.attempt, entry.failure)
        turn_for(saga, node, entry.failure, self.time)
        if new in SETTLED:
            settle(saga, node, new, self.time)
        else:
            saga.statuses[node] = new
            saga.woken.append(node)

    def _check_turn(self, failing: int | None, *, in_doubt: bool = False) -> None:
        """A saga with no way back does not turn; neither does one whose way back hangs on what is in doubt."""
        saga = self.saga
        if saga.unwinding or (failing is not None and saga.unwinds(failing)):
            return
        is_committed = saga.is_committed() if failing is None else is_bound(saga, failing)
        if is_committed or (in_doubt and failing in saga.topology.committing):
            raise self._illegal("a pivot may have had its effect, and there is no way back")

    def _node_held(self, entry: NodeHeld) -> None:
        saga = self.saga
        waiting = self._waiting_map(entry.node)
        node = self._node(entry.node) if waiting is None else waiting
        new = self._check(node, Event.HOLD)
        run = saga.runs.get(node, NO_RUN)
        if run.in_flight or entry.attempt != (run.attempt if run.sent else 0):
            raise self._illegal("a node is held with its last attempt, when none is in flight")
        if not run.sent and waiting is None and saga.startable(node) is not Kind.ACTION:
            raise self._illegal("a node that is held without an attempt is one that could have started")
        saga.runs[node] = runs.failed(run, 0, entry.failure)
        saga.statuses[node] = new

    def _check_failure(self, node: int, run: Run, entry: NodeFailed) -> None:
        flat = self.saga.topology.nodes[node]
        if flat.signal is not None or flat.map is not None:
            if entry.attempt or entry.effect_unknown:
                raise self._illegal("a signal or map node fails without an attempt, and without effect")
        elif not entry.attempt:
            if run.sent or self.saga.startable(node) is not Kind.ACTION:
                raise self._illegal("a node that fails without an attempt is one that could have started")
        elif entry.attempt != run.attempt or run.in_flight not in (0, entry.attempt):
            raise self._illegal("a node fails with its last attempt")
        elif not entry.effect_unknown:
            self._open_attempt(run, entry.attempt)
            if run.overlapped or any(attempt != entry.attempt for attempt in run.unanswered):
                raise self._illegal("it says nothing of an earlier attempt, so it is not definite")

    # ---- turning and unwinding

    def _undo_attempt_started(self, entry: UndoAttemptStarted) -> None:
        saga = self.saga
        node = self._node(entry.node)
        new = self._check(node, Event.START_UNDO)
        if saga.startable(node) is not Kind.UNDO:
            raise self._illegal("the saga does not unwind, or a child is not settled, or the action is in flight")
        old = saga.undo_runs.get(node, NO_RUN)
        if entry.attempt != old.attempt + 1:
            raise self._illegal(f"the next undo attempt of node {entry.node!r} is {old.attempt + 1}")
        self._pass_gate(node, Kind.UNDO, stepped=entry.stepped)
        saga.undo_runs[node] = runs.started(old, entry.worker_id, self.time)
        saga.statuses[node] = new

    def _undo_attempt_ended(self, entry: UndoAttemptEnded) -> None:
        saga = self.saga
        node = self._node(entry.node)
        run = saga.undo_runs.get(node, NO_RUN)
        if not entry.attempt or entry.attempt != run.in_flight:
            raise self._illegal("that undo attempt is not in flight")
        if entry.outcome not in (Outcome.REJECTED, Outcome.UNKNOWN):
            raise self._illegal("a definite outcome decides the node")
        new = self._check(node, Event.RETRY_UNDO)
        saga.undo_runs[node] = runs.ended(run, entry, self.time)
        saga.statuses[node] = new
        saga.woken.append(node)

    def _node_undone(self, entry: NodeUndone) -> None:
        saga = self.saga
        node = self._node(entry.node)
        new = self._check(node, Event.UNDO)
        if entry.how is UndoneHow.NOOP:
            action = saga.topology.nodes[node].action
            if saga.startable(node) is not Kind.UNDO or action is None or action.undo is not UndoKind.NOOP:
                raise self._illegal("its undo is an action, or it may not be undone yet")
        else:
            run = self._open_attempt(saga.undo_runs.get(node, NO_RUN), entry.attempt)
            saga.undo_runs[node] = runs.given_up(runs.answered(run, entry.attempt))
        settle(saga, node, new, self.time)

    def _undo_failed(self, entry: UndoFailed) -> None:
        saga = self.saga
        node = self._node(entry.node)
        new = self._check(node, Event.FAIL_UNDO)
        run = saga.undo_runs.get(node, NO_RUN)
        if entry.attempt != run.attempt:
            raise self._illegal("an undo fails with its last attempt")
        if not entry.attempt and saga.startable(node) is not Kind.UNDO:
            raise self._illegal("an undo that fails without an attempt is one that could have started")
        saga.undo_runs[node] = runs.failed(run, run.in_flight, entry.failure)
        saga.statuses[node] = new

    # ---- operators

    def _operator_resolved(self, entry: OperatorResolved) -> None:
        saga = self.saga
        if 0 < entry.expected_log_length < saga.seq:
            raise self._illegal(f"the operator saw {entry.expected_log_length} entries, and there are {saga.seq}")
        node = self._held_map(entry)
        if node is None:
            node = self._node(entry.node)
        new = self._check(node, ORDER_EVENTS[entry.resolution])
        match entry.resolution:
            case Resolution.RETRY:
                undo = new == NodeStatus.UNDO_RETRYING
                side = saga.undo_runs if undo else saga.runs
                side[node] = runs.reordered(side.get(node, NO_RUN))
                saga.ready.pop(node, None)
                saga.statuses[node] = new
                saga.woken.append(node)
            case Resolution.MARK_UNDONE:
                settle(saga, node, new, self.time)
            case Resolution.MARK_FAILED:
                self._check_turn(node)
                failure = Failure(type="sagaline.MarkedFailed", message=entry.reason, source=FailureSource.OPERATOR)
                turn_for(saga, node, failure, self.time)
                settle(saga, node, new, self.time)
            case Resolution.SUPPLY_OUTPUT:
                if entry.output is None:
                    raise self._illegal("an output is missing")
                self._succeed(node, new, entry.output)

    def _held_map(self, entry: OperatorResolved) -> int | None:
        """Return the node if it is a map; trying its list again would help nothing."""
        node = self.saga.topology.index.get(entry.node)
        if node is None or self.saga.topology.nodes[node].map is None:
            return None
        if entry.resolution not in (Resolution.MARK_FAILED, Resolution.SUPPLY_OUTPUT):
            raise self._illegal("a map that is held is marked failed, or its output is supplied")
        return node

    def _open_attempt(self, run: Run, attempt: int) -> Run:
        if attempt < 1 or (attempt != run.in_flight and attempt not in run.unanswered):
            raise self._illegal(f"attempt {attempt} was never started, or has been answered")
        return run

    arms: ClassVar[Mapping[type, Callable[[_Step, Any], None]]] = {
        AttemptStarted: _attempt_started,
        AttemptEnded: _attempt_ended,
        MapExpanded: _map_expanded,
        NodeSucceeded: _node_succeeded,
        NodeFailed: _node_failed,
        NodeHeld: _node_held,
        SagaCreated: _saga_created,
        SagaFinished: _saga_finished,
        UnwindRequested: _unwind_requested,
        UndoAttemptStarted: _undo_attempt_started,
        UndoAttemptEnded: _undo_attempt_ended,
        NodeUndone: _node_undone,
        UndoFailed: _undo_failed,
        GateChanged: _gate_changed,
        SignalReceived: _signal_received,
        OperatorResolved: _operator_resolved,
        FaultInjected: _fault_injected,
        FaultStruck: _fault_struck,
        QuarantineChanged: _quarantine_changed,
        OwnerChanged: _owner_changed,
    }
    """What to do with each kind of entry: looked up rather than matched, because this is the hottest place of all."""
    assert set(arms) == set(get_args(Entry))


ORDER_EVENTS = {
    Resolution.RETRY: Event.ORDER_RETRY,
    Resolution.MARK_UNDONE: Event.ORDER_UNDONE,
    Resolution.MARK_FAILED: Event.ORDER_FAILED,
    Resolution.SUPPLY_OUTPUT: Event.ORDER_OUTPUT,
}
