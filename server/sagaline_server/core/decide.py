"""`decide`: what the log should say next, given what has just happened.

It changes nothing and knows no clock. An input that comes late, twice or for
nothing is normal and gives a decision without entries; a request that makes no
sense is refused with a code. Entries become true only once they are durable:
append them, apply them, and only then send what they announce.
"""

from __future__ import annotations

from typing import assert_never

from sagaline_server.core import faults, orders
from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Entry,
    Kind,
    MapExpanded,
    NodeFailed,
    NodeHeld,
    NodeSucceeded,
    NodeUndone,
    Outcome,
    OwnerChanged,
    SagaFinished,
    SagaState,
    UndoAttemptEnded,
    UndoAttemptStarted,
    UndoFailed,
    UndoneHow,
)
from sagaline_server.core.gate import NO_POINTS, ActionPoints, Verdict, gate, is_stepped
from sagaline_server.core.graph import ActionNode, UndoKind, UnknownPolicy
from sagaline_server.core.growth import room
from sagaline_server.core.inputs import (
    NOTHING,
    Cancel,
    CancelReason,
    Close,
    Decision,
    InjectFault,
    Input,
    Look,
    Lost,
    NewOwner,
    Order,
    Placed,
    Refusal,
    Rejected,
    Resolve,
    Result,
    ResultFate,
    SetBreakpoints,
    SetPaused,
    SetQuarantined,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.maps import is_bound, list_of
from sagaline_server.core.orders import unwind_cancels
from sagaline_server.core.retry import exhausted, is_given_up, policy_of, rejection_delay, retry_delay
from sagaline_server.core.state import Run, Saga
from sagaline_server.core.timeouts import GRACE_SECONDS, start_by, stop_at
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.values import NULL, Disposition, Failure, FailureSource, SelectionError

__all__ = [
    "NOTHING",
    "Cancel",
    "CancelReason",
    "Close",
    "Decision",
    "InjectFault",
    "Input",
    "Look",
    "Lost",
    "NewOwner",
    "Order",
    "Placed",
    "Refusal",
    "Rejected",
    "Resolve",
    "Result",
    "ResultFate",
    "SetBreakpoints",
    "SetPaused",
    "SetQuarantined",
    "Signal",
    "Step",
    "Unwind",
    "decide",
    "look",
    "may_start",
    "overdue",
    "placed",
]


def decide(saga: Saga, given: Input, now: float, draw: float, points: ActionPoints = NO_POINTS) -> Decision:
    """Decide what follows from an input; changes nothing.

    Args:
        saga: State as of the last entry.
        given: What has happened.
        now: Seconds since 1970.
        draw: A random number in [0, 1), for the jitter of backoffs.
        points: The breakpoints on actions.
    """
    match given:
        case Result():
            return _result(saga, given, draw)
        case Placed():
            return placed(saga, given.node, given.kind, given.worker_id, now, points)
        case Look():
            return look(saga, given.node, now, points)
        case Close():
            return _close(saga)
        case Rejected():
            return _rejected(saga, given)
        case Lost():
            return _lost(saga, given, draw)
        case (
            Unwind() | SetPaused() | Step() | SetBreakpoints() | Signal() | InjectFault() | SetQuarantined() | Resolve()
        ):
            return orders.order(saga, given, points)
        case NewOwner():
            return _new_owner(saga, given)
        case _:
            assert_never(given)


# ---- results -------------------------------------------------------------------

_OPEN = frozenset({NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.HELD, NodeStatus.IN_DOUBT})
"""Statuses in which a result can still decide the node."""


def _result(saga: Saga, given: Result, draw: float) -> Decision:
    node = saga.topology.index.get(given.node)
    if node is None or saga.topology.nodes[node].action is None:
        return Decision(fate=ResultFate.NOT_FOUND)
    run = saga.run(node, given.kind)
    if not 0 < given.attempt <= run.attempt:
        return Decision(fate=ResultFate.NOT_FOUND)
    if saga.finished is not None:
        return Decision(fate=ResultFate.SUPERSEDED)
    if given.attempt != run.in_flight and given.attempt not in run.unanswered:
        return Decision(fate=ResultFate.DUPLICATE)
    if saga.faults:
        decision = faults.at_result(saga, node, given)
        if decision.entries:
            return decision
    if given.kind is Kind.UNDO:
        return _undo_result(saga, node, run, given, draw)
    if given.failure is None:
        return _action_output(saga, node, run, given)
    return _action_failure(saga, node, run, given, given.failure, draw)


def _action_output(saga: Saga, node: int, run: Run, given: Result) -> Decision:
    if saga.status(node) not in _OPEN:
        late = AttemptEnded(given.node, given.attempt, Outcome.SUCCEEDED, answered_late=True)
        return Decision((late,), fate=ResultFate.SUPERSEDED)
    succeeded = NodeSucceeded(given.node, given.attempt, given.output or NULL)
    return Decision((succeeded,), _superseded(node, run, given), ResultFate.RECORDED)


def _superseded(node: int, run: Run, given: Result) -> tuple[Cancel, ...]:
    """Tell a later attempt in flight that an earlier one has done its work."""
    if run.in_flight in (0, given.attempt):
        return ()
    return (Cancel(node, given.kind, run.in_flight, run.worker_id, CancelReason.SUPERSEDED),)


def _action_failure(saga: Saga, node: int, run: Run, given: Result, failure: Failure, draw: float) -> Decision:
    status = saga.status(node)
    current = given.attempt == run.in_flight and status is NodeStatus.RUNNING
    if failure.disposition is Disposition.FAIL and status in _OPEN and given.attempt == run.attempt:
        definite = not run.overlapped and not any(attempt != given.attempt for attempt in run.unanswered)
        if (definite or current) and _may_fail(saga, node, in_doubt=not definite):
            failed = NodeFailed(given.node, given.attempt, failure, effect_unknown=not definite)
            return Decision((failed,), unwind_cancels(saga, node), ResultFate.RECORDED)
    if not current:
        outcome = Outcome.FAILED if failure.disposition is Disposition.FAIL else Outcome.UNKNOWN
        late = AttemptEnded(given.node, given.attempt, outcome, failure, answered_late=True)
        return Decision((late,), fate=ResultFate.SUPERSEDED)
    if failure.disposition is Disposition.HOLD:
        held = AttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, failure, held=True)
        return Decision((held,), fate=ResultFate.RECORDED)
    delay = _delay(saga, node, Kind.ACTION, run, failure, draw)
    ended = AttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, failure, retry_delay=delay)
    return Decision((ended,), fate=ResultFate.RECORDED)


def _may_fail(saga: Saga, node: int, *, in_doubt: bool) -> bool:
    """True when a node's failure may turn the saga; else it is tried again, forward, or held for an operator.

    What can't be undone must not be in doubt when the saga turns.
    """
    if saga.unwinds(node):
        return True
    return not is_bound(saga, node) and not (in_doubt and node in saga.topology.committing)


def _undo_result(saga: Saga, node: int, run: Run, given: Result, draw: float) -> Decision:
    status = saga.status(node)
    if given.failure is None:
        if status in (NodeStatus.UNDOING, NodeStatus.UNDO_RETRYING, NodeStatus.UNDO_FAILED):
            undone = NodeUndone(given.node, given.attempt, UndoneHow.ACTION)
            return Decision((undone,), _superseded(node, run, given), ResultFate.RECORDED)
        return Decision(fate=ResultFate.SUPERSEDED)
    if given.attempt != run.in_flight or status is not NodeStatus.UNDOING:
        return Decision(fate=ResultFate.SUPERSEDED)
    entry: Entry
    if given.failure.disposition is Disposition.RETRY:
        delay = _delay(saga, node, Kind.UNDO, run, given.failure, draw)
        entry = UndoAttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, given.failure, retry_delay=delay)
    else:
        entry = UndoFailed(given.node, given.attempt, given.failure)
    return Decision((entry,), fate=ResultFate.RECORDED)


def _rejected(saga: Saga, given: Rejected) -> Decision:
    found = _in_flight(saga, given.node, given.kind, given.attempt)
    if found is None:
        return _stopped(saga, given, Failure("sagaline.Rejected", "its worker never started it"))
    node, run = found
    if given.kind is Kind.UNDO:
        ended = UndoAttemptEnded(given.node, given.attempt, Outcome.REJECTED, retry_delay=rejection_delay(run))
        return Decision((ended,))
    late = saga.status(node) is not NodeStatus.RUNNING
    delay = None if late else rejection_delay(run)
    return Decision((AttemptEnded(given.node, given.attempt, Outcome.REJECTED, retry_delay=delay, answered_late=late),))


def _lost(saga: Saga, given: Lost, draw: float) -> Decision:
    found = _in_flight(saga, given.node, given.kind, given.attempt)
    failure = Failure("sagaline.WorkerLost", given.message, source=FailureSource.WORKER_LOST)
    if found is None:
        return _stopped(saga, given, failure)
    node, run = found
    delay = _delay(saga, node, given.kind, run, failure, draw)
    if given.kind is Kind.UNDO:
        return Decision(
            (UndoAttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, failure, delay, given.uncounted),)
        )
    late = saga.status(node) is not NodeStatus.RUNNING
    return Decision(
        (
            AttemptEnded(
                given.node,
                given.attempt,
                Outcome.UNKNOWN,
                failure,
                retry_delay=None if late else delay,
                answered_late=late,
                uncounted=given.uncounted,
            ),
        )
    )


def _stopped(saga: Saga, given: Rejected | Lost, failure: Failure) -> Decision:
    """Note that an action attempt whose time was over does not run any more; nothing is known of its effect."""
    node = saga.topology.index.get(given.node)
    if node is None or saga.finished is not None or given.kind is not Kind.ACTION:
        return NOTHING
    if not any(attempt == given.attempt for attempt, _ in saga.run(node, Kind.ACTION).lingering):
        return NOTHING
    return Decision((AttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, failure, answered_late=True),))


def overdue(saga: Saga, node: int, kind: Kind, now: float, draw: float, heard: float) -> Decision:
    """Decide about an attempt in flight whose time may be over: ask it to stop, then give it up.

    Args:
        saga: State as of the last entry.
        node: Node.
        kind: Side of which an attempt is in flight.
        now: Seconds since 1970.
        draw: As of `decide`.
        heard: When its worker last reported progress; 0: never.
    """
    stop = stop_at(saga, node, kind, heard)
    if stop is None or now < stop:
        return NOTHING
    name, run = saga.topology.nodes[node].name, saga.run(node, kind)
    if now < stop + GRACE_SECONDS:
        return Decision(cancels=(Cancel(node, kind, run.in_flight, run.worker_id, CancelReason.TIMED_OUT),))
    message = f"attempt {run.in_flight} has had its time, and its worker has not answered the wish to stop it"
    failure = Failure("sagaline.TimedOut", message, source=FailureSource.TIMEOUT)
    delay = _delay(saga, node, kind, run, failure, draw)
    entry: Entry
    if kind is Kind.UNDO:
        entry = UndoAttemptEnded(name, run.in_flight, Outcome.UNKNOWN, failure, delay, overdue=True)
    elif saga.statuses[node] != NodeStatus.RUNNING:
        return NOTHING
    else:
        entry = AttemptEnded(name, run.in_flight, Outcome.UNKNOWN, failure, delay, overdue=True)
    return Decision((entry,))


def _in_flight(saga: Saga, name: str, kind: Kind, attempt: int) -> tuple[int, Run] | None:
    node = saga.topology.index.get(name)
    if node is None or saga.finished is not None:
        return None
    run = saga.run(node, kind)
    return (node, run) if attempt and run.in_flight == attempt else None


def _delay(saga: Saga, node: int, kind: Kind, run: Run, failure: Failure, draw: float) -> float:
    action = saga.topology.nodes[node].action
    assert action is not None
    return retry_delay(policy_of(action, kind), run, failure, draw)


# ---- going on --------------------------------------------------------------------


def placed(saga: Saga, node: int, kind: Kind, worker_id: str, now: float, points: ActionPoints = NO_POINTS) -> Decision:
    """Decide about `Placed`."""
    if not may_start(saga, node, kind, now, points):
        return NOTHING
    name = saga.topology.nodes[node].name
    attempt = saga.run(node, kind).attempt + 1
    started = UndoAttemptStarted if kind is Kind.UNDO else AttemptStarted
    return Decision((started(name, attempt, worker_id, is_stepped(saga, node, kind, points)),))


def may_start(saga: Saga, node: int, kind: Kind, now: float, points: ActionPoints = NO_POINTS) -> bool:
    """True when one side of a node could start at this moment, if a worker had a slot."""
    is_due = saga.startable(node) is kind and saga.due(node, kind) <= now
    return is_due and gate(saga, node, kind, points) is Verdict.GO


def look(saga: Saga, node: int, now: float, points: ActionPoints = NO_POINTS) -> Decision:
    """Decide about `Look`."""
    if saga.is_waiting(node):
        return _look_at_wait(saga, node, now)
    kind = saga.startable(node)
    if kind is None:
        return NOTHING
    flat = saga.topology.nodes[node]
    action = flat.action
    assert action is not None
    if kind is Kind.UNDO:
        return _look_at_undo(saga, node, action, now, points)
    if saga.statuses[node] == NodeStatus.RETRYING and is_given_up(action, saga.run(node, kind), now, saga.seq):
        decision = _give_up(saga, node, action)
        if decision.entries:
            return decision
    if _is_late(saga, node, kind, now, points):
        decision = _not_started(saga, node, action)
        if decision.entries:
            return decision
    return _check_inputs(saga, node) if flat.selects else NOTHING


def _look_at_wait(saga: Saga, node: int, now: float) -> Decision:
    flat = saga.topology.nodes[node]
    if flat.map is not None:
        return _look_at_map(saga, node) if now >= saga.starts else NOTHING
    ends = saga.wait_ends(node)
    if ends is None or now < ends:
        return NOTHING
    if flat.delay is not None:
        return Decision((NodeSucceeded(flat.name, 0, NULL),))
    if not _may_fail(saga, node, in_doubt=False):
        return NOTHING
    failure = Failure(
        "sagaline.SignalTimeout",
        f"the signal {flat.signal!r} has not come within {flat.timeout:g} s",
        Disposition.FAIL,
        FailureSource.TIMEOUT,
    )
    return Decision((NodeFailed(flat.name, 0, failure),), unwind_cancels(saga, node))


def _look_at_map(saga: Saga, node: int) -> Decision:
    """Let a map have its elements; it fails, with certainly no effect, where it can't."""
    name = saga.topology.nodes[node].name
    try:
        count = len(list_of(saga, node))
        kind, problem = "sagaline.TooManyNodes", room(saga.topology, node, count)
    except SelectionError as error:
        kind, problem, count = "sagaline.NotAList", str(error), 0
    if not problem:
        return Decision((MapExpanded(name, count),))
    failure = Failure(kind, problem, Disposition.FAIL, FailureSource.SEC)
    if not _may_fail(saga, node, in_doubt=False):
        return Decision((NodeHeld(name, 0, failure),))
    return Decision((NodeFailed(name, 0, failure),), unwind_cancels(saga, node))


def _look_at_undo(saga: Saga, node: int, action: ActionNode, now: float, points: ActionPoints) -> Decision:
    flat, run = saga.topology.nodes[node], saga.run(node, Kind.UNDO)
    if saga.statuses[node] == NodeStatus.UNDO_RETRYING:
        if exhausted(action.undo_retry, run, now, saga.seq):
            failure = run.failure or Failure("sagaline.AttemptsExhausted")
            return Decision((UndoFailed(flat.name, run.attempt, failure),))
    elif action.undo is UndoKind.NOOP:
        return Decision((NodeUndone(flat.name, 0, UndoneHow.NOOP),))
    elif action.undo is UndoKind.NONE:
        message = "it can't be undone; see to it by hand and say so, or leave what it has done"
        failure = Failure("sagaline.Irreversible", message, Disposition.HOLD, FailureSource.SEC)
        return Decision((UndoFailed(flat.name, run.attempt, failure),))
    if _is_late(saga, node, Kind.UNDO, now, points):
        return Decision((UndoFailed(flat.name, run.attempt, _NO_WORKER),))
    return NOTHING


def _give_up(saga: Saga, node: int, action: ActionNode) -> Decision:
    """Decide about a node that is not to be tried again: in doubt, held, or tried again for all that."""
    flat, run = saga.topology.nodes[node], saga.run(node, Kind.ACTION)
    failure = run.failure or Failure("sagaline.AttemptsExhausted")
    if action.commits or action.unknown is UnknownPolicy.HOLD:
        return Decision((NodeHeld(flat.name, run.attempt, failure),))
    if not _may_fail(saga, node, in_doubt=True):
        return NOTHING
    failed = NodeFailed(flat.name, run.attempt, failure, effect_unknown=True)
    return Decision((failed,), unwind_cancels(saga, node))


_NO_WORKER = Failure(
    "sagaline.ScheduleToStartTimeout",
    "no worker came for it in the time that its policy allows",
    Disposition.FAIL,
    FailureSource.TIMEOUT,
)


def _is_late(saga: Saga, node: int, kind: Kind, now: float, points: ActionPoints) -> bool:
    """True when a node has waited for a worker for longer than its policy allows."""
    limit = start_by(saga, node, kind, points)
    return limit is not None and now >= limit and gate(saga, node, kind, points) is Verdict.GO


def _not_started(saga: Saga, node: int, action: ActionNode) -> Decision:
    """Decide about an action that no worker came for: without effect only if nothing was ever sent."""
    if saga.run(node, Kind.ACTION).sent:
        return _give_up(saga, node, action)
    if not _may_fail(saga, node, in_doubt=False):
        return NOTHING
    return Decision((NodeFailed(saga.topology.nodes[node].name, 0, _NO_WORKER),), unwind_cancels(saga, node))


def _check_inputs(saga: Saga, node: int) -> Decision:
    """Fail a node whose inputs can't be had: no attempt was sent, so there is certainly no effect."""
    flat = saga.topology.nodes[node]
    for name, source in flat.inputs:
        try:
            saga.resolve(source)
        except SelectionError as error:
            failure = Failure(
                "sagaline.InputUnavailable",
                f"input {name!r}: {error}",
                Disposition.FAIL,
                FailureSource.SEC,
            )
            if not _may_fail(saga, node, in_doubt=False):
                return Decision((NodeHeld(flat.name, 0, failure),))
            return Decision((NodeFailed(flat.name, 0, failure),), unwind_cancels(saga, node))
    return NOTHING


def _close(saga: Saga) -> Decision:
    if saga.remaining or saga.finished is not None:
        return NOTHING
    state = SagaState.UNWOUND if saga.unwinding else SagaState.SUCCEEDED
    cancels = tuple(
        Cancel(node, kind, attempt, worker_id, CancelReason.SUPERSEDED)
        for node, kind, attempt, worker_id in saga.outstanding()
    )
    return Decision((SagaFinished(state),), cancels)


def _new_owner(saga: Saga, given: NewOwner) -> Decision:
    if saga.finished is not None:
        return NOTHING
    return Decision((OwnerChanged(given.sec_id, given.incarnation, given.how, given.from_sec_id),))
