"""Injected faults: what tests want to go wrong, asked for by an order, kept in the log, each used up once.

A fault that strikes is an entry of its own, followed in the same append by
what it does, so that a new owner neither forgets a fault nor repeats it.
"""

from __future__ import annotations

from sagaline_server.core import limits
from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    FaultInjected,
    FaultKind,
    FaultStruck,
    Kind,
    Outcome,
    UndoAttemptEnded,
    UndoAttemptStarted,
)
from sagaline_server.core.graph import UndoKind, UnknownPolicy
from sagaline_server.core.inputs import NOTHING, Decision, InjectFault, Refusal, Result, ResultFate
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import SETTLED, NodeStatus
from sagaline_server.core.values import Disposition, Failure, FailureSource

_BEFORE_SUCCESS = frozenset({NodeStatus.PENDING, NodeStatus.RUNNING, NodeStatus.RETRYING, NodeStatus.HELD})
_AT_START = {Kind.ACTION: FaultKind.ACTION_ERROR, Kind.UNDO: FaultKind.UNDO_ERROR}
_REPEATED = Failure("sagaline.InjectedRepeat", "it succeeded, and is to be sent again", source=FailureSource.OPERATOR)


def inject(saga: Saga, given: InjectFault) -> Decision:
    """Decide about `InjectFault`."""
    node = saga.topology.index.get(given.node)
    action = None if node is None else saga.topology.nodes[node].action
    if node is None or action is None:
        return Decision(refusal=Refusal("NODE_NOT_FOUND", f"the saga has no action node {given.node[:128]!r}"))
    if saga.finished is not None:
        return Decision(refusal=Refusal("SAGA_FINISHED", "the saga has ended"))
    status, why = saga.status(node), ""
    if status in SETTLED or status is NodeStatus.ABANDONED:
        why = f"it is {status.name}"
    elif given.fault is FaultKind.ACTION_ERROR and status not in _BEFORE_SUCCESS:
        why = f"its action has run: it is {status.name}"
    elif given.fault is FaultKind.UNDO_ERROR and action.undo is not UndoKind.ACTION:
        why = "it has no undo action"
    elif given.fault is FaultKind.REPEAT and action.unknown is not UnknownPolicy.RETRY_THEN_UNDO:
        why = "its policy does not send it again"
    elif given.times + left(saga, node, given.fault) > limits.FAULTS:
        why = f"it has as many faults of that kind as it may: {limits.FAULTS}"
    if why:
        return Decision(
            refusal=Refusal("FAULT_NOT_APPLICABLE", f"nothing of that kind can befall {given.node!r}: {why}")
        )
    return Decision((FaultInjected(given.node, given.fault, given.times, given.actor, given.reason),))


def left(saga: Saga, node: int, fault: FaultKind) -> int:
    """Return how many faults of a kind a node has."""
    return saga.faults.get((node, fault), 0)


def at_start(saga: Saga, node: int, kind: Kind) -> tuple[Decision, Result] | None:
    """Return the start of an attempt that a fault takes the place of, and how it ends; None: there is no such fault.

    The start may pass in every other respect; no worker is needed.
    """
    fault = _AT_START[kind]
    if not left(saga, node, fault):
        return None
    name, attempt = saga.topology.nodes[node].name, saga.run(node, kind).attempt + 1
    start = (AttemptStarted if kind is Kind.ACTION else UndoAttemptStarted)(name, attempt, "")
    message = f"an injected fault took the place of attempt {attempt}"
    # Of an earlier attempt that may have had an effect a fault can say nothing.
    is_definite = kind is Kind.UNDO or not saga.run(node, kind).sent
    disposition = Disposition.FAIL if is_definite else Disposition.RETRY
    failure = Failure("sagaline.InjectedFault", message, disposition, FailureSource.OPERATOR)
    return Decision((FaultStruck(name, fault), start)), Result(name, kind, attempt, failure=failure)


def at_result(saga: Saga, node: int, given: Result) -> Decision:
    """Decide about a result that a fault meets; without entries: there is no such fault."""
    run = saga.run(node, given.kind)
    if given.attempt != run.in_flight or not run.worker_id:
        return NOTHING
    if left(saga, node, FaultKind.CRASH_BEFORE_RESULT):
        return Decision((FaultStruck(given.node, FaultKind.CRASH_BEFORE_RESULT),), crashes=True)
    runs = saga.status(node) in (NodeStatus.RUNNING, NodeStatus.UNDOING)
    if given.failure is not None or not runs or not left(saga, node, FaultKind.REPEAT):
        return NOTHING
    struck = FaultStruck(given.node, FaultKind.REPEAT)
    if given.kind is Kind.ACTION:
        again = AttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, _REPEATED, 0.0, uncounted=True)
        return Decision((struck, again), fate=ResultFate.RECORDED)
    undone = UndoAttemptEnded(given.node, given.attempt, Outcome.UNKNOWN, _REPEATED, 0.0, uncounted=True)
    return Decision((struck, undone), fate=ResultFate.RECORDED)


def injected(saga: Saga, node: int, entry: FaultInjected) -> None:
    """Apply `FaultInjected`: a start that waits for a worker may need none now."""
    saga.faults = {**saga.faults, (node, entry.fault): left(saga, node, entry.fault) + entry.times}
    saga.woken.append(node)


def struck(saga: Saga, node: int, entry: FaultStruck) -> None:
    """Apply `FaultStruck`; the node has one."""
    key = (node, entry.fault)
    more = saga.faults[key] - 1
    others = {other: count for other, count in saga.faults.items() if other != key}
    saga.faults = {**others, key: more} if more else others
