"""Sagas and entries for the tests of the commands."""

from __future__ import annotations

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.v1 import failure_pb2, log_pb2, payload_pb2, saga_pb2

START = Timestamp(seconds=1_767_225_600)  # 2026-01-01 00:00 UTC
END = Timestamp(seconds=1_767_225_603, nanos=200_000_000)


def graph() -> saga_pb2.Graph:
    """A trip: pay and a subsaga in parallel, then confirm."""
    pick = saga_pb2.Node(name="pick", action=saga_pb2.ActionNode(action="hotels.pick"))
    hotel = saga_pb2.Node(name="hotel", subsaga=saga_pb2.SubsagaNode(graph=saga_pb2.Graph(name="room", nodes=[pick])))
    pay = saga_pb2.Node(name="pay", action=saga_pb2.ActionNode(action="payments.charge", version="2", pivot=True))
    confirm = saga_pb2.Node(name="confirm", after=["hotel"], action=saga_pb2.ActionNode(action="trips.confirm"))
    confirm.action.inputs["receipt"].node = "pay"
    return saga_pb2.Graph(name="trip", nodes=[confirm, pay, hotel], result="confirm")


def node(name: str, status: saga_pb2.NodeStatus.ValueType, **fields: object) -> saga_pb2.NodeView:
    return saga_pb2.NodeView(name=name, status=status, kind="action", **fields)  # type: ignore[arg-type]


def unwound(saga_id: str = "t-1") -> saga_pb2.Saga:
    failure = failure_pb2.Failure(type="Full", message="no room")
    return saga_pb2.Saga(
        saga_id=saga_id,
        graph_name="trip",
        state=saga_pb2.SAGA_STATE_UNWOUND,
        create_time=START,
        finish_time=END,
        labels={"team": "a", "env": "test"},
        scopes=["rack/17"],
        failure=failure,
        failed_node="hotel/pick",
        owner="sec-1",
        epoch=2,
        params=payload_pb2.Payload(json='{"city":"Oslo"}'),
        graph=graph(),
        nodes=[
            node("pay", saga_pb2.NODE_STATUS_UNDONE, action="payments.charge", attempt=1, undo_attempt=2),
            saga_pb2.NodeView(name="hotel", status=saga_pb2.NODE_STATUS_FAILED, kind="subsaga"),
            node("hotel/pick", saga_pb2.NODE_STATUS_FAILED, action="hotels.pick", attempt=3, failure=failure),
            node("confirm", saga_pb2.NODE_STATUS_ABANDONED, action="trips.confirm"),
        ],
    )


def succeeded(saga_id: str = "t-2") -> saga_pb2.Saga:
    return saga_pb2.Saga(
        saga_id=saga_id,
        graph_name="trip",
        state=saga_pb2.SAGA_STATE_SUCCEEDED,
        create_time=START,
        finish_time=END,
        output=payload_pb2.Payload(json='{"number":7}'),
        graph=graph(),
        nodes=[
            node("pay", saga_pb2.NODE_STATUS_SUCCEEDED, action="payments.charge", attempt=1),
            node("confirm", saga_pb2.NODE_STATUS_SUCCEEDED, action="trips.confirm", attempt=1),
        ],
    )


def record(saga_id: str = "t-2") -> log_pb2.SagaRecord:
    """What the saga of `succeeded` and `log` was created as: with all that a spec can say."""
    spec = saga_pb2.SagaSpec(
        saga_id=saga_id,
        graph=graph(),
        params=payload_pb2.Payload(json="[1]"),
        labels={"team": "a"},
        scopes=["rack/1"],
        deadline=Duration(seconds=60),
        trace_context={"traceparent": "00-1-2-01"},
    )
    return log_pb2.SagaRecord(spec=spec, digest=b"d" * 32, create_time=START)


def running(saga_id: str = "t-3", *, needs_operator: bool = False) -> saga_pb2.Saga:
    return saga_pb2.Saga(
        saga_id=saga_id,
        graph_name="trip",
        state=saga_pb2.SAGA_STATE_STUCK if needs_operator else saga_pb2.SAGA_STATE_RUNNING,
        needs_operator=needs_operator,
        create_time=START,
        nodes=[
            node("pay", saga_pb2.NODE_STATUS_RUNNING, action="payments.charge", attempt=1, worker_id="w-1"),
            node("confirm", saga_pb2.NODE_STATUS_PENDING, action="trips.confirm", waiting_for="pay"),
        ],
    )


def log() -> list[log_pb2.LogEntry]:
    bodies = [
        log_pb2.LogEntry(saga_created=log_pb2.SagaCreated(digest=b"d" * 32)),
        log_pb2.LogEntry(attempt_started=log_pb2.AttemptStarted(node="pay", attempt=1, worker_id="w-1")),
        log_pb2.LogEntry(node_succeeded=log_pb2.NodeSucceeded(node="pay", attempt=1)),
        log_pb2.LogEntry(attempt_started=log_pb2.AttemptStarted(node="confirm", attempt=1, worker_id="w-1")),
        log_pb2.LogEntry(node_succeeded=log_pb2.NodeSucceeded(node="confirm", attempt=1)),
        log_pb2.LogEntry(saga_finished=log_pb2.SagaFinished(state=saga_pb2.SAGA_STATE_SUCCEEDED)),
    ]
    for seq, entry in enumerate(bodies, 1):
        entry.seq, entry.epoch = seq, 1
        entry.time.CopyFrom(START)
    return bodies


def fleet() -> saga_pb2.Saga:
    """Two machines: a server for each, which is a subsaga, and then a name for each."""
    reserve = saga_pb2.Node(name="reserve", action=saga_pb2.ActionNode(action="take"))
    reserve.action.inputs["need"].params.SetInParent()
    reserve.action.inputs["cores"].params.SetInParent()
    reserve.action.inputs["cores"].path.append("cores")
    servers = saga_pb2.Node(name="servers")
    servers.map.items.params.SetInParent()
    servers.map.items.path.append("needs")
    servers.map.subsaga.graph.CopyFrom(saga_pb2.Graph(name="server", nodes=[reserve]))
    names = saga_pb2.Node(name="names", map=saga_pb2.MapNode(item="server", index="number"))
    names.map.items.node = "servers"
    names.map.action.action = "name"
    names.map.action.inputs["fleet"].literal.json = '"web"'
    succeeded, pending = saga_pb2.NODE_STATUS_SUCCEEDED, saga_pb2.NODE_STATUS_PENDING
    return saga_pb2.Saga(
        saga_id="f-1",
        graph_name="fleet",
        state=saga_pb2.SAGA_STATE_RUNNING,
        create_time=START,
        finish_time=END,
        params=payload_pb2.Payload(json='{"needs":[{"cores":2},{"cores":4}]}'),
        graph=saga_pb2.Graph(name="fleet", nodes=[servers, names]),
        nodes=[
            node("servers[0]/reserve", succeeded, action="take", attempt=1, output=payload_pb2.Payload(json="7")),
            saga_pb2.NodeView(name="servers[0]", status=succeeded, kind="subsaga"),
            node("servers[1]/reserve", saga_pb2.NODE_STATUS_RUNNING, action="take", attempt=1),
            saga_pb2.NodeView(name="servers[1]", status=pending, kind="subsaga"),
            saga_pb2.NodeView(
                name="servers", status=pending, kind="map", waiting_for="its elements: 1 of 2 have ended"
            ),
            saga_pb2.NodeView(name="names", status=pending, kind="map"),
        ],
    )
