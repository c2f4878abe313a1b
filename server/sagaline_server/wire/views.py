"""Sagas as clients see them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.core.entries import Kind, SagaState
from sagaline_server.core.gate import NO_POINTS, ActionPoints, Verdict, action_point_at, breakpoint_at, gate
from sagaline_server.core.maps import hold_of, progress_of
from sagaline_server.core.state import NO_RUN, Saga
from sagaline_server.core.traces import TraceParent
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.wire import encoded
from sagaline_server.wire.payloads import fill_failure, fill_payload
from sagaline_server.wire.times import fill_timestamp, timestamp, to_seconds
from sagaline_server.wire.varints import varint


class Ownership(msgspec.Struct, frozen=True):
    """Who owns a saga, for its view."""

    sec_id: str
    epoch: int


NO_PAIRS: Mapping[str, str] = {}

Waiting = Callable[[int, Kind], str]
"""Say, for people, why one side of a node that could start does not."""


class About(msgspec.Struct, frozen=True, gc=False):
    """What a record tells of a saga beside its graph and parameters."""

    create_time: float
    """Seconds since 1970."""
    labels: Mapping[str, str] = NO_PAIRS
    scopes: tuple[str, ...] = ()
    trace_context: Mapping[str, str] = NO_PAIRS
    span_parent: TraceParent | None = None
    """The caller's span, where this SEC makes spans of the saga below it."""


def about(record: log_pb2.SagaRecord) -> About:
    """Return what a record tells."""
    spec = record.spec
    return About(
        to_seconds(record.create_time),
        dict(spec.labels) if spec.labels else NO_PAIRS,
        tuple(spec.scopes),
        dict(spec.trace_context) if spec.trace_context else NO_PAIRS,
    )


def summary(saga_id: str, told: About, saga: Saga, owner: Ownership | None) -> saga_pb2.Saga:
    """Return the BASIC view of a saga."""
    state = saga.state
    view = saga_pb2.Saga(
        saga_id=saga_id,
        graph_name=saga.topology.graph_name,
        state=saga_pb2.SagaState.ValueType(state),
        paused=saga.paused and saga.finished is None,
        needs_operator=saga.needs_operator,
        log_length=saga.seq,
    )
    fill_timestamp(view.create_time, told.create_time)
    fill_timestamp(view.update_time, saga.updated)
    if told.labels:
        view.labels.update(told.labels)
    if told.scopes:
        view.scopes.extend(told.scopes)
    if saga.finished is not None:
        fill_timestamp(view.finish_time, saga.updated)
        result = None if saga.unwinding else saga.result()
        if result is not None:
            fill_payload(view.output, result)
    if saga.failure is not None:
        fill_failure(view.failure, saga.failure)
    if saga.failed_node is not None:
        view.failed_node = saga.topology.nodes[saga.failed_node].name
    if owner is not None and saga.finished is None:
        view.owner, view.epoch = owner.sec_id, owner.epoch
    return view


def end_of(view: saga_pb2.Saga) -> saga_service_pb2.SagaEnd:
    """Return the word of a saga's end, or of its need of an operator, that its BASIC view comes to."""
    end = saga_service_pb2.SagaEnd(saga_id=view.saga_id, state=view.state, failed_node=view.failed_node)
    end.needs_operator = view.needs_operator and not SagaState(view.state).is_final
    if view.HasField("output"):
        end.output.CopyFrom(view.output)
    if view.HasField("failure"):
        end.failure.CopyFrom(view.failure)
    return end


@lru_cache(256)
def _succeeded_at(graph_name: str, created: float, ended: float) -> bytes:
    """Return what the encoded views of sagas have in common that ended together, and were created together."""
    end = encoded.time(ended)
    return b"".join(
        (
            encoded.field(b"\x12", graph_name.encode()),
            b"\x18" + varint(SagaState.SUCCEEDED),
            encoded.field(b"\x32", encoded.time(created)),
            encoded.field(b"\x3a", end),
            encoded.field(b"\x42", end),
        )
    )


def done_record(saga_id: str, told: About, saga: Saga) -> bytes:
    """Return the encoded DoneRecord of a saga that has ended: its BASIC view."""
    output = saga.result() if saga.finished is SagaState.SUCCEEDED else None
    if output is None or told.labels or told.scopes or saga.failure is not None:
        return log_pb2.DoneRecord(saga=summary(saga_id, told, saga, None)).SerializeToString()
    saga_bytes, value = saga_id.encode(), encoded.payload(output)
    view = b"".join(
        (
            b"\x0a" + varint(len(saga_bytes)),
            saga_bytes,
            _succeeded_at(saga.topology.graph_name, told.create_time, saga.updated),
            b"\x5a" + varint(len(value)),
            value,
            b"\x80\x01" + varint(saga.seq),
        )
    )
    return encoded.field(b"\x0a", view)


def add_details(
    view: saga_pb2.Saga,
    record: log_pb2.SagaRecord,
    saga: Saga,
    waiting: Waiting | None = None,
    points: ActionPoints = NO_POINTS,
) -> None:
    """Make a BASIC view FULL."""
    view.params.CopyFrom(record.spec.params)
    view.graph.CopyFrom(record.spec.graph)
    for node in saga.topology.in_order():
        _fill_node(view.nodes.add(), saga, node, waiting, points)


def _fill_node(view: saga_pb2.NodeView, saga: Saga, node: int, waiting: Waiting | None, points: ActionPoints) -> None:
    flat = saga.topology.nodes[node]
    status = saga.status(node)
    run, undo = saga.runs.get(node, NO_RUN), saga.undo_runs.get(node, NO_RUN)
    view.name = flat.name
    view.status = saga_pb2.NodeStatus.ValueType(status)
    view.kind = flat.kind
    view.parents.extend(saga.topology.nodes[parent].name for parent in flat.parents)
    view.attempt, view.undo_attempt = run.attempt, undo.attempt
    if flat.action is not None:
        view.action = flat.action.action
    current = undo if undo.attempt else run
    if current.in_flight:
        view.worker_id = current.worker_id
    if node in saga.outputs or (flat.action is None and status in (NodeStatus.SUCCEEDED, NodeStatus.UNDONE)):
        output = saga.known_output(node)
        if output is not None:
            fill_payload(view.output, output)
    failure = undo.failure or run.failure
    if failure is not None and status != NodeStatus.SUCCEEDED:
        fill_failure(view.failure, failure)
    if saga.is_waiting(node):
        ends = saga.wait_ends(node)
        if ends is not None:
            view.retry_time.CopyFrom(timestamp(ends))
        view.waiting_for = f"the signal {flat.signal}" if flat.signal is not None else "its time"
        return
    kind = saga.startable(node)
    if kind is None:
        view.waiting_for = hold_of(saga, node) or progress_of(saga, node)
        return
    due = saga.due(node, kind)
    if due:
        view.retry_time.CopyFrom(timestamp(due))
    if gate(saga, node, kind, points) is Verdict.HOLD:
        view.waiting_for = f"the gate: {hold_text(saga, node, kind, points)}"
    elif waiting is not None:
        view.waiting_for = waiting(node, kind)


def hold_text(saga: Saga, node: int, kind: Kind, points: ActionPoints = NO_POINTS) -> str:
    """Say for people why the gate holds one side of a node."""
    if saga.quarantined is not None:
        return f"the saga is set aside: {saga.quarantined}"
    if saga.paused:
        return "the saga is paused"
    point = breakpoint_at(saga, node, kind)
    if point is not None:
        return f"a breakpoint at {point.node}"
    held, action = action_point_at(saga, node, kind, points), saga.topology.nodes[node].action
    if held is None or action is None:
        return "it was held a moment ago"
    return f"a breakpoint on the action {action.action}, set by {held.actor}: {held.reason}"
