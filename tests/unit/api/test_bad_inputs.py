"""Bad input, RPC by RPC: the error names the field and a stable reason, and nothing has changed."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.v1 import admin_service_pb2 as admin
from sagaline.v1 import log_pb2, payload_pb2, saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.core import limits
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import raw_call, refused
from tests.unit.api.specs import trip, trip_graph

INVALID = grpc.StatusCode.INVALID_ARGUMENT
MISSING_ID = ("saga_id", "BAD_SAGA_ID")
LONG_NAME = "n" * 700


def method(served: Served, name: str) -> Any:
    """Return a method of either service."""
    return getattr(served.sagas, name, None) or getattr(served.admin, name)


async def call(served: Served, name: str, request: Message) -> Any:
    """Call a method whose request is one message, and return its (first) response."""
    calling = method(served, name)(request)
    return await (calling.read() if isinstance(calling, grpc.aio.UnaryStreamCall) else calling)


EMPTY: dict[str, tuple[Message, list[tuple[str, str]]]] = {
    "CreateSaga": (pb.CreateSagaRequest(), [("saga", "REQUIRED")]),
    "CreateSagas": (pb.CreateSagasRequest(), [("sagas", "REQUIRED")]),
    "RunSaga": (pb.RunSagaRequest(), [("saga", "REQUIRED")]),
    "GetSaga": (pb.GetSagaRequest(), [MISSING_ID]),
    "WatchSaga": (pb.WatchSagaRequest(), [MISSING_ID]),
    "WaitSaga": (pb.WaitSagaRequest(), [MISSING_ID]),
    "GetSagaLog": (pb.GetSagaLogRequest(), [MISSING_ID]),
    "PauseSaga": (pb.PauseSagaRequest(), [MISSING_ID]),
    "ResumeSaga": (pb.ResumeSagaRequest(), [MISSING_ID]),
    "StepSaga": (pb.StepSagaRequest(), [MISSING_ID]),
    "SetBreakpoints": (pb.SetBreakpointsRequest(), [MISSING_ID]),
    "UnwindSaga": (pb.UnwindSagaRequest(), [MISSING_ID]),
    "InjectFault": (pb.InjectFaultRequest(), [MISSING_ID, ("node", "REQUIRED"), ("fault", "REQUIRED")]),
    "QuarantineSaga": (admin.QuarantineSagaRequest(), [MISSING_ID, ("actor", "REQUIRED"), ("reason", "REQUIRED")]),
    "ReleaseSaga": (admin.ReleaseSagaRequest(), [MISSING_ID, ("actor", "REQUIRED"), ("reason", "REQUIRED")]),
    "SignalSaga": (pb.SignalSagaRequest(), [MISSING_ID, ("signal", "REQUIRED")]),
    "ResolveNode": (
        pb.ResolveNodeRequest(),
        [
            MISSING_ID,
            ("node", "REQUIRED"),
            ("resolution", "REQUIRED"),
            ("by.actor", "REQUIRED"),
            ("by.reason", "REQUIRED"),
        ],
    ),
    "BatchControlSagas": (pb.BatchControlSagasRequest(), [("filter", "REQUIRED"), ("control", "REQUIRED")]),
    "ExplainSaga": (admin.ExplainSagaRequest(), [MISSING_ID]),
    "SetLimit": (admin.SetLimitRequest(), [("limit", "REQUIRED")]),
    "SetActionBreakpoint": (
        admin.SetActionBreakpointRequest(),
        [(f"breakpoint.{field}", "REQUIRED") for field in ("action", "actor", "reason")],
    ),
    "ClearActionBreakpoint": (admin.ClearActionBreakpointRequest(), [("action", "REQUIRED")]),
    "HandOff": (admin.HandOffRequest(), [MISSING_ID]),
}


@pytest.mark.parametrize("name", EMPTY)
async def test_an_empty_request(served: Served, name: str) -> None:
    request, fields = EMPTY[name]
    told = await refused(call(served, name, request))
    assert (told.code, told.reason, told.fields) == (INVALID, "INVALID_REQUEST", fields)
    assert told.message.startswith(fields[0][0] + ": ")
    assert not served.runtime.creations


WITH_ID = [name for name, (request, _) in EMPTY.items() if "saga_id" in request.DESCRIPTOR.fields_by_name]


@pytest.mark.parametrize("name", WITH_ID)
@pytest.mark.parametrize("saga_id", ["a/b", "..", "x" * 129, "a\x00", "é"])
async def test_an_id_that_no_saga_can_have(served: Served, name: str, saga_id: str) -> None:
    request = type(EMPTY[name][0])()
    request.saga_id = saga_id  # type: ignore[attr-defined]
    told = await refused(call(served, name, request))
    assert told.code is INVALID
    assert told.fields[0] == MISSING_ID


def filled(name: str) -> Message:
    """Return a request that is right, of a saga that is not there."""
    request: Any = type(EMPTY[name][0])()
    request.saga_id = "unknown"
    if isinstance(request, pb.SignalSagaRequest):
        request.signal = "go"
    if isinstance(request, pb.ResolveNodeRequest):
        request.node, request.resolution = "pay", log_pb2.RESOLUTION_RETRY
        request.by.actor = request.by.reason = "x"
    if isinstance(request, pb.InjectFaultRequest):
        request.node, request.fault = "pay", log_pb2.FAULT_KIND_REPEAT
    if isinstance(request, admin.QuarantineSagaRequest | admin.ReleaseSagaRequest):
        request.actor = request.reason = "x"
    assert isinstance(request, Message)
    return request


@pytest.mark.parametrize("name", WITH_ID)
async def test_a_saga_that_is_not_there(served: Served, name: str) -> None:
    told = await refused(call(served, name, filled(name)))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SAGA_NOT_FOUND")
    assert told.details["ResourceInfo"].resource_name.startswith("unknown")
    assert told.details["ResourceInfo"].resource_type == "sagaline.v1.Saga"


def by(actor: str = "ann", reason: str = "storm") -> pb.Attribution:
    return pb.Attribution(actor=actor, reason=reason)


TOO_LONG_BY = by("a" * (limits.ACTOR_BYTES + 1), "é" * (limits.REASON_BYTES // 2 + 1))
BY_FIELDS = [("by.actor", "TOO_LONG"), ("by.reason", "TOO_LONG")]
RETRY = log_pb2.RESOLUTION_RETRY

Case = tuple[str, Message, list[tuple[str, str]]]


def resolve(**fields: Any) -> pb.ResolveNodeRequest:
    given: dict[str, Any] = {"saga_id": "s1", "node": "pay", "resolution": RETRY, "by": by()} | fields
    return pb.ResolveNodeRequest(**given)


def wait(seconds: int, nanos: int = 0) -> pb.WaitSagaRequest:
    return pb.WaitSagaRequest(saga_id="s1", timeout=Duration(seconds=seconds, nanos=nanos))


def listing(**fields: Any) -> pb.ListSagasRequest:
    return pb.ListSagasRequest(filter=pb.SagaFilter(**fields))


OUT = "OUT_OF_RANGE"
CASES: list[Case] = [
    ("GetSaga", pb.GetSagaRequest(saga_id="s1", view=saga_pb2.SagaView.ValueType(77)), [("view", "UNKNOWN_VALUE")]),
    ("HandOff", admin.HandOffRequest(saga_id="s1", to_sec_id="s" * 65), [("to_sec_id", "TOO_LONG")]),
    ("DrainSec", admin.DrainSecRequest(sec_id="s" * 65), [("sec_id", "TOO_LONG")]),
    ("DrainSec", admin.DrainSecRequest(timeout=Duration(seconds=3601)), [("timeout", OUT)]),
    ("DrainSec", admin.DrainSecRequest(timeout=Duration(nanos=-1)), [("timeout", OUT)]),
    ("ListSagas", pb.ListSagasRequest(view=saga_pb2.SagaView.ValueType(77)), [("view", "UNKNOWN_VALUE")]),
    ("ListSagas", pb.ListSagasRequest(page_size=-1), [("page_size", OUT)]),
    ("ListSagas", pb.ListSagasRequest(page_size=-(2**31)), [("page_size", OUT)]),
    ("ListSagas", listing(states=[0]), [("filter.states[0]", "UNKNOWN_VALUE")]),
    ("ListSagas", listing(states=[1, 99]), [("filter.states[1]", "UNKNOWN_VALUE")]),
    ("ListSagas", listing(states=[1] * 20), [("filter.states", "TOO_MANY")]),
    ("ListSagas", listing(graph_name=LONG_NAME), [("filter.graph_name", "TOO_LONG")]),
    ("ListSagas", listing(scope=LONG_NAME), [("filter.scope", "TOO_LONG")]),
    ("ListSagas", listing(failed_node=LONG_NAME), [("filter.failed_node", "TOO_LONG")]),
    ("ListSagas", listing(labels={str(each): "" for each in range(9)}), [("filter.labels", "TOO_MANY")]),
    ("ListSagas", listing(labels={"k" * 129: ""}), [(f"filter.labels[{'k' * 32}]", "TOO_LONG")]),
    ("ListSagas", listing(labels={"k": "v" * 100_000}), [("filter.labels[k]", "TOO_LONG")]),
    ("ListSagas", listing(create_time_from=Timestamp(seconds=2**60)), [("filter.create_time_from", OUT)]),
    ("ListSagas", listing(create_time_before=Timestamp(nanos=-1)), [("filter.create_time_before", OUT)]),
    ("ListSagas", listing(idle_for=Duration(seconds=-1)), [("filter.idle_for", OUT)]),
    ("WatchSaga", pb.WatchSagaRequest(saga_id="s1", from_seq=-1), [("from_seq", OUT)]),
    ("WatchSaga", pb.WatchSagaRequest(saga_id="s1", from_seq=2**63 - 1), [("from_seq", OUT)]),
    ("GetSagaLog", pb.GetSagaLogRequest(saga_id="s1", from_seq=-(2**63)), [("from_seq", OUT)]),
    ("GetSagaLog", pb.GetSagaLogRequest(saga_id="s1", page_size=-7), [("page_size", OUT)]),
    ("WaitSaga", wait(-1), [("timeout", OUT)]),
    ("WaitSaga", wait(601), [("timeout", OUT)]),
    ("WaitSaga", wait(315_576_000_000), [("timeout", OUT)]),
    ("WaitSaga", wait(1, -5), [("timeout", OUT)]),
    ("WaitSaga", wait(1, 2_000_000_000), [("timeout", OUT)]),
    ("PauseSaga", pb.PauseSagaRequest(saga_id="s1", by=TOO_LONG_BY), BY_FIELDS),
    ("ResumeSaga", pb.ResumeSagaRequest(saga_id="s1", by=TOO_LONG_BY), BY_FIELDS),
    ("UnwindSaga", pb.UnwindSagaRequest(saga_id="s1", by=TOO_LONG_BY), BY_FIELDS),
    ("ResolveNode", resolve(by=TOO_LONG_BY), BY_FIELDS),
    ("ResolveNode", resolve(by=by("", "")), [("by.actor", "REQUIRED"), ("by.reason", "REQUIRED")]),
    ("ResolveNode", resolve(node=LONG_NAME), [("node", "TOO_LONG")]),
    ("ResolveNode", resolve(resolution=99), [("resolution", "UNKNOWN_VALUE")]),
    ("ResolveNode", resolve(output=payload_pb2.Payload(json="1")), [("output", "NOT_ALLOWED")]),
    ("ResolveNode", resolve(resolution=log_pb2.RESOLUTION_SUPPLY_OUTPUT), [("output", "REQUIRED")]),
    (
        "ResolveNode",
        resolve(resolution=log_pb2.RESOLUTION_SUPPLY_OUTPUT, output=payload_pb2.Payload(data=b"\x00")),
        [("output.encoding", "BAD_ENCODING")],
    ),
    (
        "CreateSagas",
        pb.CreateSagasRequest(sagas=[saga_pb2.SagaSpec()] * (limits.CREATE_BATCH + 1)),
        [("sagas", "TOO_MANY")],
    ),
    (
        "CreateSagas",
        pb.CreateSagasRequest(sagas=[trip("s2")], graphs={str(key): trip_graph() for key in range(101)}),
        [("graphs", "TOO_MANY")],
    ),
    (
        "CreateSagas",
        pb.CreateSagasRequest(sagas=[trip("s2")], graphs={"": trip_graph()}),
        [("graphs[]", "BAD_GRAPH_KEY")],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2][0][0]}-{case[2][0][1]}")
async def test_a_field_that_is_wrong(served: Served, case: Case) -> None:
    name, request, fields = case
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    before = list(served.runtime.log("s1"))
    told = await refused(call(served, name, request))
    assert (told.code, told.reason, told.fields) == (INVALID, "INVALID_REQUEST", fields)
    assert all(told.descriptions)
    assert set(served.runtime.sagas) == {"s1"}
    assert served.runtime.log("s1") == before


def spec(**fields: Any) -> saga_pb2.SagaSpec:
    return trip("s2", **fields)


def with_graph(graph: saga_pb2.Graph) -> saga_pb2.SagaSpec:
    return saga_pb2.SagaSpec(saga_id="s2", graph=graph)


def graph_of(*nodes: saga_pb2.Node, **fields: Any) -> saga_pb2.SagaSpec:
    return with_graph(saga_pb2.Graph(name="g", nodes=nodes, **fields))


def act(name: str, *after: str, **fields: Any) -> saga_pb2.Node:
    return saga_pb2.Node(name=name, after=after, action=saga_pb2.ActionNode(action="a.b", **fields))


def deep(levels: int) -> saga_pb2.Graph:
    graph = saga_pb2.Graph(name="g", nodes=[act("a")])
    for _ in range(levels):
        graph = saga_pb2.Graph(name="g", nodes=[saga_pb2.Node(name="s", subsaga=saga_pb2.SubsagaNode(graph=graph))])
    return graph


def source(**fields: Any) -> saga_pb2.InputSource:
    return saga_pb2.InputSource(**fields)


retry = saga_pb2.RetryPolicy
data = payload_pb2.Payload
NODE = "saga.graph.nodes[0]"

SPECS: dict[str, tuple[saga_pb2.SagaSpec, str, str]] = {
    "no graph": (saga_pb2.SagaSpec(saga_id="s2"), "saga.graph", "REQUIRED"),
    "a key": (saga_pb2.SagaSpec(saga_id="s2", graph_key="g"), "saga.graph_key", "NOT_ALLOWED"),
    "an empty graph": (with_graph(saga_pb2.Graph(name="g")), "saga.graph.nodes", "EMPTY_GRAPH"),
    "no name": (with_graph(saga_pb2.Graph(nodes=[act("a")])), "saga.graph.name", "BAD_NAME"),
    "a node of no kind": (graph_of(saga_pb2.Node(name="a")), NODE, "NO_KIND"),
    "a map of nothing": (graph_of(saga_pb2.Node(name="a", map=saga_pb2.MapNode())), f"{NODE}.map", "NO_KIND"),
    "a delay into the past": (
        graph_of(saga_pb2.Node(name="a", delay=saga_pb2.DelayNode(duration=Duration(seconds=-1)))),
        f"{NODE}.delay.duration",
        OUT,
    ),
    "no time for a signal": (
        graph_of(saga_pb2.Node(name="a", signal=saga_pb2.SignalNode(timeout=Duration()))),
        f"{NODE}.signal.timeout",
        OUT,
    ),
    "a signal's name": (
        graph_of(saga_pb2.Node(name="a", signal=saga_pb2.SignalNode(signal="a b"))),
        f"{NODE}.signal.signal",
        "BAD_NAME",
    ),
    "twice": (graph_of(act("a"), act("a")), "saga.graph.nodes[1].name", "DUPLICATE_NODE"),
    "itself": (graph_of(act("a", "a")), "saga.graph.nodes", "CYCLE"),
    "a cycle": (graph_of(act("a", "b"), act("b", "a")), "saga.graph.nodes", "CYCLE"),
    "after nobody": (graph_of(act("a", "nobody")), f"{NODE}.after[0]", "UNKNOWN_NODE"),
    "no result": (graph_of(act("a"), result="b"), "saga.graph.result", "UNKNOWN_NODE"),
    "no source": (graph_of(act("a", inputs={"x": source()})), f"{NODE}.action.inputs[x]", "NO_SOURCE"),
    "attempts": (graph_of(act("a", retry=retry(max_attempts=-2))), f"{NODE}.action.retry.max_attempts", OUT),
    "multiplier": (
        graph_of(act("a", retry=retry(multiplier=float("nan")))),
        f"{NODE}.action.retry.multiplier",
        OUT,
    ),
    "no time": (
        graph_of(act("a", timeouts=saga_pb2.Timeouts(heartbeat=Duration()))),
        f"{NODE}.action.timeouts.heartbeat",
        OUT,
    ),
    "less than no time to undo": (
        graph_of(act("a", undo=saga_pb2.UndoPolicy(timeouts=saga_pb2.Timeouts(start_to_close=Duration(seconds=-1))))),
        f"{NODE}.action.undo.timeouts.start_to_close",
        OUT,
    ),
    "a pivot that is undone": (
        graph_of(act("a", pivot=True, undo=saga_pb2.UndoPolicy(kind=saga_pb2.UNDO_KIND_ACTION))),
        f"{NODE}.action.undo.kind",
        "NOT_ALLOWED",
    ),
    "undone after the pivot": (graph_of(act("a", pivot=True), act("b", "a")), "saga.graph.nodes", "UNDO_AFTER_PIVOT"),
    "an unknown policy": (
        graph_of(act("a", unknown_policy=9)),
        f"{NODE}.action.unknown_policy",
        "UNSERVED_POLICY",
    ),
    "too deep": (with_graph(deep(9)), "saga.graph" + ".nodes[0].subsaga.graph" * 9, "TOO_DEEP"),
    "many labels": (spec(labels={str(each): "" for each in range(33)}), "saga.labels", "TOO_MANY"),
    "an empty label": (spec(labels={"": "v"}), "saga.labels[]", "BAD_LABEL"),
    "no deadline": (
        saga_pb2.SagaSpec(saga_id="s2", graph=trip_graph(), deadline=Duration()),
        "saga.deadline",
        OUT,
    ),
    "a deadline past": (
        saga_pb2.SagaSpec(saga_id="s2", graph=trip_graph(), deadline=Duration(seconds=-1)),
        "saga.deadline",
        OUT,
    ),
    "bytes without encoding": (
        saga_pb2.SagaSpec(saga_id="s2", graph=trip_graph(), params=data(data=b"1")),
        "saga.params.encoding",
        "BAD_ENCODING",
    ),
    "metadata": (
        saga_pb2.SagaSpec(saga_id="s2", graph=trip_graph(), params=data(json="1", metadata={"k" * 65: ""})),
        "saga.params.metadata",
        "BAD_METADATA",
    ),
    "a trace": (spec(trace_context={"traceparent": "0" * 513}), "saga.trace_context[traceparent]", OUT),
}


@pytest.mark.parametrize("name", SPECS)
async def test_a_spec_that_is_wrong_alone_in_a_batch_and_on_a_stream(served: Served, name: str) -> None:
    given, field, reason = SPECS[name]
    told = await refused(served.sagas.CreateSaga(pb.CreateSagaRequest(saga=given)))
    assert (told.code, told.reason) == (INVALID, "INVALID_REQUEST")
    assert (field[:200], reason) in [(each[:200], why) for each, why in told.fields]
    if name != "a key":
        batch = await served.sagas.CreateSagas(pb.CreateSagasRequest(sagas=[given]))
        stream = served.sagas.RunSagas()
        await stream.write(pb.RunSagasRequest(sagas=[given]))
        frame = await stream.read()
        await stream.done_writing()
        assert isinstance(frame, pb.RunSagasResponse)
        for result in (batch.results[0], frame.results[0]):
            assert result.error.reason == "INVALID_REQUEST"
            assert [(each.field, each.reason) for each in result.error.problems] == told.fields
    assert not served.runtime.creations


# ---- what is no message


RAW: dict[str, bytes] = {
    "invalid UTF-8": b"\x0a\x02\xff\xfe",
    "cut short": b"\x0a\x7fab",
    "no tag": b"\xff\xff\xff",
}


@pytest.mark.parametrize("name", RAW)
@pytest.mark.parametrize("path", ["GetSaga", "PauseSaga"])
async def test_bytes_that_are_no_request(served: Served, name: str, path: str) -> None:
    told = await refused(raw_call(served, f"/sagaline.v1.SagaService/{path}", RAW[name]))
    assert (told.code, told.reason) == (INVALID, "UNREADABLE_REQUEST")


async def test_bytes_that_are_no_frame(served: Served) -> None:
    channel: Any = served.channel
    stream = channel.stream_stream("/sagaline.v1.SagaService/RunSagas")(iter([b"\x12\x04\x0a\x02\xff\xfe"]))
    told = await refused(stream.read())
    assert (told.code, told.reason) == (INVALID, "UNREADABLE_REQUEST")
    watch = channel.unary_stream("/sagaline.v1.SagaService/WatchSaga")(b"\x0a\x02\xff\xfe")
    told = await refused(watch.read())
    assert (told.code, told.reason) == (INVALID, "UNREADABLE_REQUEST")


async def test_unknown_fields_do_no_harm(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    request = pb.GetSagaRequest(saga_id="s1").SerializeToString() + b"\xfa\x3e\x01x"
    response = await raw_call(served, "/sagaline.v1.SagaService/GetSaga", request)
    assert pb.GetSagaResponse.FromString(response).saga.saga_id == "s1"


async def test_what_does_not_exist(served: Served) -> None:
    for path in ("/sagaline.v1.SagaService/Nothing", "/sagaline.v2.SagaService/GetSaga", "/x"):
        told = await refused(raw_call(served, path, b""))
        assert told.code is grpc.StatusCode.UNIMPLEMENTED


def test_every_method_is_tested() -> None:
    described = {
        method.name
        for file in (pb, admin)
        for service in file.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    lists = {"ListLimits", "ListActionBreakpoints", "ListSagas", "CountSagas", "ListWorkers", "ListSecs"}
    tested = set(EMPTY) | lists | {"RunSagas", "DrainSec"}
    assert described == tested
