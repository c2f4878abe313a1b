"""The plain course: an action starts, succeeds, and those after it start. Nearly all of a SEC's work is this.

Every function here either does exactly what `decide` and `apply` would, or
says that it can't tell, and then those are asked: they are the reference, and
the driver of the core's tests compares the two in everything that it does.
What is asked here is only what may differ in a legal log; whatever is out of
the ordinary in any way is left to the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sagaline_server.core.entries import (
    AttemptStarted,
    Kind,
    NodeSucceeded,
    NodeUndone,
    OwnerChanged,
    SagaCreated,
    SagaFinished,
    SagaState,
    UndoAttemptStarted,
    UndoneHow,
)
from sagaline_server.core.gate import holds_nothing
from sagaline_server.core.inputs import Result
from sagaline_server.core.runs import answered
from sagaline_server.core.state import Run, Saga
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.values import NULL, Payload

PENDING, RUNNING, SUCCEEDED = int(NodeStatus.PENDING), int(NodeStatus.RUNNING), int(NodeStatus.SUCCEEDED)
UNDOING, UNDONE = int(NodeStatus.UNDOING), int(NodeStatus.UNDONE)
SAGA_SUCCEEDED, UNWOUND = SagaFinished(SagaState.SUCCEEDED), SagaFinished(SagaState.UNWOUND)


def ending(saga: Saga, given: Result) -> NodeSucceeded | NodeUndone | None:
    """Return the only entry of the decision about a result: the attempt in flight has succeeded. None: ask `decide`."""
    node = saga.topology.index.get(given.node)
    if node is None or given.failure is not None or given.attempt < 1 or saga.faults:
        return None
    if given.kind is Kind.ACTION:
        run = saga.runs.get(node)
        if run is not None and run.in_flight == given.attempt and saga.statuses[node] == RUNNING:
            return NodeSucceeded(given.node, given.attempt, given.output or NULL)
        return None
    run = saga.undo_runs.get(node)
    if run is not None and run.in_flight == given.attempt and saga.statuses[node] == UNDOING:
        return NodeUndone(given.node, given.attempt, UndoneHow.ACTION)
    return None


def may_start(saga: Saga, node: int, now: float) -> bool:
    """True where an action may start for the first time, and nothing else can be decided of it. False: ask `look`."""
    return (
        saga.statuses[node] == PENDING
        and not saga.waiting[node]
        and not saga.unwinding
        and saga.topology.nodes[node].is_plain
        and node not in saga.runs
        and saga.starts <= now
        and holds_nothing(saga)
    )


def may_undo(saga: Saga, node: int, now: float) -> bool:
    """True where an undo may start for the first time, and nothing else can be decided of it. False: ask `look`."""
    if not saga.unwinding or saga.statuses[node] != SUCCEEDED or saga.waiting[node] or node in saga.undo_runs:
        return False
    run = saga.runs.get(node)
    return (
        run is not None
        and not run.in_flight
        and not run.lingering
        and saga.topology.nodes[node].is_plain_undo
        and saga.starts <= now
        and holds_nothing(saga)
    )


def ended(saga: Saga, given: Result) -> NodeSucceeded | NodeUndone | None:
    """Take a result as `ending` and then `apply` would: one look at everything instead of two. None: ask those."""
    topology = saga.topology
    node = topology.index.get(given.node)
    attempt = given.attempt
    if node is None or given.failure is not None or attempt < 1 or saga.faults or topology.is_hurried:
        return None
    flat = topology.nodes[node]
    if given.kind is Kind.ACTION:
        run = saga.runs.get(node)
        if run is None or run.in_flight != attempt or saga.statuses[node] != RUNNING or saga.unwinding:
            return None
        if run.unanswered or run.lingering or not flat.feeds_actions:
            return None
        output = given.output or NULL
        _succeed(saga, node, run, output)
        return NodeSucceeded(given.node, attempt, output)
    run = saga.undo_runs.get(node)
    if run is None or run.in_flight != attempt or saga.statuses[node] != UNDOING or not saga.unwinding:
        return None
    if run.unanswered or not flat.follows_actions:
        return None
    _undo(saga, node, run)
    return NodeUndone(given.node, attempt, UndoneHow.ACTION)


def started(saga: Saga, node: int, kind: Kind, worker_id: str, time: float) -> AttemptStarted | UndoAttemptStarted:
    """Start one side of a node of which `may_start` or `may_undo` is true, as `apply` would."""
    name = saga.topology.nodes[node].name
    if kind is Kind.ACTION:
        _start(saga, node, worker_id, time)
        return AttemptStarted(name, 1, worker_id)
    _start_undo(saga, node, worker_id, time)
    return UndoAttemptStarted(name, 1, worker_id)


def closing(saga: Saga) -> SagaFinished | None:
    """Return the only entry of the decision to close a saga of which nothing is left; None: ask `decide`."""
    if saga.remaining or saga.finished is not None:
        return None
    for runs in (saga.runs, saga.undo_runs):
        for run in runs.values():
            if run.in_flight or run.lingering:
                return None
    return UNWOUND if saga.unwinding else SAGA_SUCCEEDED


def _start(saga: Saga, node: int, worker_id: str, time: float) -> None:
    saga.runs[node] = Run(1, 1, worker_id, 1, 1, first_start=time, started=time)
    saga.statuses[node] = RUNNING


def _start_undo(saga: Saga, node: int, worker_id: str, time: float) -> None:
    saga.undo_runs[node] = Run(1, 1, worker_id, 1, 1, first_start=time, started=time)
    saga.statuses[node] = UNDOING


def _succeed(saga: Saga, node: int, run: Run, output: Payload) -> None:
    saga.runs[node] = answered(run, run.in_flight)
    saga.statuses[node] = SUCCEEDED
    saga.outputs[node] = output
    _let_go_on(saga, saga.topology.nodes[node].children)


def _undo(saga: Saga, node: int, run: Run) -> None:
    saga.undo_runs[node] = answered(run, run.in_flight)
    saga.statuses[node] = UNDONE
    _let_go_on(saga, saga.topology.nodes[node].parents)


def _let_go_on(saga: Saga, others: Iterable[int]) -> None:
    """Wake those that waited for one node's side, now done, and for nothing else."""
    saga.remaining -= 1
    waiting = saga.waiting
    for other in others:
        left = waiting[other] = waiting[other] - 1
        if not left:
            saga.woken.append(other)


def _saga_created(saga: Saga, entry: SagaCreated, time: float) -> bool:
    topology = saga.topology
    if saga.seq or entry.digest != saga.digest or entry.paused or entry.start_delay is not None or topology.is_hurried:
        return False
    nodes = topology.nodes
    for node in topology.roots:
        if nodes[node].action is None:
            return False
    saga.created = time
    saga.woken.extend(topology.roots)
    return True


def _saga_finished(saga: Saga, entry: SagaFinished, time: float) -> bool:  # noqa: ARG001 - as of a course
    expected = UNWOUND if saga.unwinding else SAGA_SUCCEEDED
    if entry != expected or saga.remaining or saga.finished is not None or not saga.seq or saga.topology.is_hurried:
        return False
    saga.finished = entry.state
    return True


def _attempt_started(saga: Saga, entry: AttemptStarted, time: float) -> bool:
    topology = saga.topology
    node = topology.index.get(entry.node)
    if (
        node is None
        or saga.statuses[node] != PENDING
        or saga.waiting[node]
        or saga.unwinding
        or not saga.seq
        or node in saga.runs
        or entry.attempt != 1
        or entry.stepped
        or topology.nodes[node].action is None
        or not holds_nothing(saga)
    ):
        return False
    _start(saga, node, entry.worker_id, time)
    return True


def _node_succeeded(saga: Saga, entry: NodeSucceeded, time: float) -> bool:  # noqa: ARG001 - as of a course
    topology = saga.topology
    node = topology.index.get(entry.node)
    if node is None or saga.statuses[node] != RUNNING or saga.unwinding or topology.is_hurried:
        return False
    flat, run = topology.nodes[node], saga.runs[node]
    if entry.attempt != run.in_flight or run.unanswered or run.lingering or not flat.feeds_actions:
        return False
    _succeed(saga, node, run, entry.output)
    return True


def _undo_started(saga: Saga, entry: UndoAttemptStarted, time: float) -> bool:
    node = saga.topology.index.get(entry.node)
    if node is None or entry.attempt != 1 or entry.stepped or not may_undo(saga, node, saga.starts):
        return False
    _start_undo(saga, node, entry.worker_id, time)
    return True


def _node_undone(saga: Saga, entry: NodeUndone, time: float) -> bool:  # noqa: ARG001 - as of a course
    topology = saga.topology
    node = topology.index.get(entry.node)
    if (
        node is None
        or saga.statuses[node] != UNDOING
        or not saga.unwinding
        or entry.how is not UndoneHow.ACTION
        or topology.is_hurried
    ):
        return False
    flat, run = topology.nodes[node], saga.undo_runs[node]
    if entry.attempt != run.in_flight or run.unanswered or not flat.follows_actions:
        return False
    _undo(saga, node, run)
    return True


def _owner_changed(saga: Saga, entry: OwnerChanged, time: float) -> bool:  # noqa: ARG001 - as of a course
    return bool(saga.seq) and saga.finished is None and not saga.topology.is_hurried


COURSES: Mapping[type, Callable[[Saga, Any, float], bool]] = {
    SagaCreated: _saga_created,
    SagaFinished: _saga_finished,
    AttemptStarted: _attempt_started,
    NodeSucceeded: _node_succeeded,
    UndoAttemptStarted: _undo_started,
    NodeUndone: _node_undone,
    OwnerChanged: _owner_changed,
}
"""What `apply` does to a saga that takes its plain course. False: nothing has changed, and the reference decides."""
