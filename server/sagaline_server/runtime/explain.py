"""What operators are told: why a saga is not further, one reason for each node that waits; and workers."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2, saga_pb2
from sagaline_server.core.data_types import drift
from sagaline_server.core.entries import Kind
from sagaline_server.core.gate import NO_POINTS, ActionPoints, Verdict, gate
from sagaline_server.core.maps import hold_of
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.session import Session
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.wire.specs import type_from, types_from
from sagaline_server.wire.times import duration, timestamp
from sagaline_server.wire.views import hold_text

WARNINGS = 100

_OPERATOR = {
    NodeStatus.HELD: "its outcome is for an operator to decide: resolve the node",
    NodeStatus.UNDO_FAILED: "its undo failed for good: resolve the node",
}
FAILURE_CHARS = 400


def explain(
    dispatcher: Dispatcher, live: LiveSaga, now: float, points: ActionPoints = NO_POINTS
) -> admin_service_pb2.ExplainSagaResponse:
    """Return the reasons, in topological order, and what will go wrong with the workers that are here."""
    waits = []
    for node in live.state.topology.in_order():
        wait = _wait(dispatcher, live, node, now, points)
        if wait is not None:
            waits.append(wait)
    warnings = _warnings(dispatcher, live)
    return admin_service_pb2.ExplainSagaResponse(waits=waits, warnings=warnings, log_length=live.state.seq)


def _warnings(dispatcher: Dispatcher, live: LiveSaga) -> list[str]:
    """Return where workers' declared types have drifted from the graph's, for nodes that may still run."""
    found: list[str] = []
    served = [(session.worker_id, spec) for session in dispatcher.sessions.values() for spec in session.hello.actions]
    for number, flat in enumerate(live.state.topology.nodes):
        action = flat.action
        if action is None or live.state.status(number) is not NodeStatus.PENDING:
            continue
        if not action.input_types and action.output_type is None:
            continue
        for worker_id, spec in served:
            if spec.action == action.action and action.version in (spec.versions or ("1",)):
                output = type_from(spec.output_type) if spec.HasField("output_type") else None
                told = drift(action, types_from(spec.input_types), output)
                found += [f"node {flat.name}: worker {worker_id} does not fit the graph: {text}" for text in told]
                if len(found) >= WARNINGS:
                    return found[:WARNINGS]
    return found


def _wait(
    dispatcher: Dispatcher, live: LiveSaga, node: int, now: float, points: ActionPoints
) -> admin_service_pb2.NodeWait | None:
    saga = live.state
    status = saga.status(node)
    wait = admin_service_pb2.NodeWait(node=saga.topology.nodes[node].name)
    wait.kind = saga_pb2.INVOCATION_KIND_ACTION
    if status in _OPERATOR:
        wait.reason = admin_service_pb2.WAIT_REASON_OPERATOR
        kind = Kind.UNDO if status is NodeStatus.UNDO_FAILED else Kind.ACTION
        wait.kind = saga_pb2.InvocationKind.ValueType(kind)
        wait.message = _OPERATOR[status] + _last_failure(live, node, kind)
        return wait
    for kind in Kind:
        run = saga.run(node, kind)
        if run.in_flight:
            wait.kind = saga_pb2.InvocationKind.ValueType(kind)
            session = dispatcher.sessions.get(run.worker_id)
            here = session is not None and session.attached
            wait.reason = admin_service_pb2.WAIT_REASON_IN_FLIGHT if here else admin_service_pb2.WAIT_REASON_WORKER_AWAY
            where = "runs it" if here else "is away; its grace time runs"
            wait.message = f"worker {run.worker_id} {where}"
            wait.age.CopyFrom(duration(max(now - run.first_start, 0.0)))
            return wait
    if saga.is_waiting(node):
        wait.reason, wait.message = admin_service_pb2.WAIT_REASON_EVENT, _event_text(live, node, now)
        wait.age.CopyFrom(duration(max(now - saga.waits[node], 0.0)))
        return wait
    startable = saga.startable(node)
    if held := hold_of(saga, node):
        wait.reason, wait.message = admin_service_pb2.WAIT_REASON_LIMIT, held
        return wait
    if startable is None:
        lingering = saga.run(node, Kind.ACTION).lingering
        if not lingering or (status is NodeStatus.SUCCEEDED and not saga.unwinding):
            return None
        wait.reason = admin_service_pb2.WAIT_REASON_IN_FLIGHT
        wait.message = f"attempt {lingering[0][0]} was given up, and worker {lingering[0][1]} may still be running it"
        return wait
    wait.kind = saga_pb2.InvocationKind.ValueType(startable)
    wait.reason, wait.message = _startable_reason(dispatcher, live, node, startable, now, points)
    return wait


def _last_failure(live: LiveSaga, node: int, kind: Kind) -> str:
    """Return how the last attempt ended, to stand behind a reason; nothing where none has failed."""
    failure = live.state.run(node, kind).failure
    return "" if failure is None else f"; last: {failure.type}: {failure.message}"[:FAILURE_CHARS]


def _event_text(live: LiveSaga, node: int, now: float) -> str:
    flat, ends = live.state.topology.nodes[node], live.state.wait_ends(node)
    if flat.map is not None:
        return "it becomes its elements when the saga starts"
    left = "" if ends is None else f"{max(ends - now, 0.0):.1f} s"
    if flat.signal is None:
        return f"its delay is over in {left}"
    return f"it waits for the signal {flat.signal}" + (f", for another {left}" if left else "")


def _startable_reason(
    dispatcher: Dispatcher, live: LiveSaga, node: int, kind: Kind, now: float, points: ActionPoints
) -> tuple[admin_service_pb2.WaitReason.ValueType, str]:
    saga = live.state
    due = saga.due(node, kind)
    if gate(saga, node, kind, points) is Verdict.HOLD:
        return admin_service_pb2.WAIT_REASON_GATE, f"the gate holds it: {hold_text(saga, node, kind, points)}"
    if due > now:
        told = f"the next attempt is due in {due - now:.1f} s{_last_failure(live, node, kind)}"
        return admin_service_pb2.WAIT_REASON_BACKOFF, told
    if kind is Kind.ACTION and not saga.unwinds(node):
        told = live.held_by or dispatcher.permits.why(live.action_key(node, kind))
        if told:
            return admin_service_pb2.WAIT_REASON_LIMIT, told
    is_served, is_here, message = dispatcher.why(live.action_key(node, kind))
    if is_here:
        return admin_service_pb2.WAIT_REASON_ALL_FULL, message
    if is_served:
        return admin_service_pb2.WAIT_REASON_WRONG_VERSION, message
    return admin_service_pb2.WAIT_REASON_NO_WORKER, message


def waiting_text(dispatcher: Dispatcher, live: LiveSaga, now: float, node: int, kind: Kind) -> str:
    """Say for people why one side of a node that could start does not: as `explain` says it."""
    return _startable_reason(dispatcher, live, node, kind, now, NO_POINTS)[1]


def worker_status(session: Session) -> admin_service_pb2.WorkerStatus:
    """Return a session as operators see it."""
    hello = session.hello
    return admin_service_pb2.WorkerStatus(
        worker_id=session.worker_id,
        identity=hello.identity,
        build_id=hello.build_id,
        sdk=hello.sdk,
        actions=hello.actions,
        in_flight=len(session.in_flight),
        capacity=session.capacity(),
        connected=session.attached,
        draining=session.draining,
        connect_time=timestamp(session.connect_time),
    )
