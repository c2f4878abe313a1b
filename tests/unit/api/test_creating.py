"""CreateSaga and CreateSagas: what is durable, what is told of it, and that nothing wrong is written."""

from __future__ import annotations

import uuid

import grpc
import pytest

from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.api import creating
from sagaline_server.core import limits
from sagaline_server.core.digest import graph_digest, saga_digest
from sagaline_server.runtime.requests import NotServing, Overloaded, RuntimeRefusal
from sagaline_server.wire.specs import graph_from, spec_from
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import refused
from tests.unit.api.specs import json_payload, trip, trip_graph

BASIC = saga_pb2.SAGA_VIEW_BASIC


def create(spec: saga_pb2.SagaSpec) -> saga_service_pb2.CreateSagaRequest:
    return saga_service_pb2.CreateSagaRequest(saga=spec)


async def test_a_saga_is_created_and_described(served: Served) -> None:
    response = await served.sagas.CreateSaga(create(trip("trip-1", labels={"team": "red"}, start_paused=True)))
    assert not response.existed
    saga = response.saga
    assert (saga.saga_id, saga.graph_name, saga.state) == ("trip-1", "trip", saga_pb2.SAGA_STATE_RUNNING)
    assert saga.paused
    assert saga.labels == {"team": "red"}
    assert not saga.nodes, "the BASIC view has no nodes"
    assert not saga.HasField("graph")


async def test_the_record_is_the_spec_with_its_graph_digest_and_time(served: Served) -> None:
    given = trip("trip-1", labels={"team": "red"}, trace_context={"traceparent": "00-1"})
    given.scopes.append("rack/17")
    given.deadline.seconds = 60
    await served.sagas.CreateSaga(create(given))
    kept = served.runtime.sagas["trip-1"]
    assert kept.record.spec == given
    assert kept.record.create_time.seconds == int(served.clock.now)
    graph = graph_from(given.graph)
    assert kept.record.digest == saga_digest(spec_from(given, "trip-1", graph), graph_digest(graph)) == kept.saga.digest
    assert log_pb2.SagaRecord.FromString(kept.record.SerializeToString()) == kept.record


async def test_a_saga_without_an_id_gets_a_uuid_of_version_7(served: Served) -> None:
    ids = [(await served.sagas.CreateSaga(create(trip()))).saga.saga_id]
    served.clock.now += 1
    ids.append((await served.sagas.CreateSaga(create(trip()))).saga.saga_id)
    for saga_id in ids:
        assert uuid.UUID(saga_id).version == 7
        assert uuid.UUID(saga_id).variant == uuid.RFC_4122
        assert served.runtime.sagas[saga_id].record.spec.saga_id == saga_id
    assert ids[0] < ids[1], "ids sort by time of creation"
    assert uuid.UUID(ids[0]).int >> 80 == 1_800_000_000_000


async def test_the_same_id_and_content_returns_the_saga_there_is(served: Served) -> None:
    await served.sagas.CreateSaga(create(trip("trip-1")))
    served.runtime.run_on()
    served.clock.now += 100
    again = await served.sagas.CreateSaga(create(trip("trip-1")))
    assert again.existed
    assert again.saga.state == saga_pb2.SAGA_STATE_SUCCEEDED


async def test_the_order_of_nodes_is_no_content(served: Served) -> None:
    await served.sagas.CreateSaga(create(trip("trip-1")))
    turned = trip("trip-1")
    nodes = list(turned.graph.nodes)[::-1]
    turned.graph.ClearField("nodes")
    turned.graph.nodes.extend(nodes)
    assert (await served.sagas.CreateSaga(create(turned))).existed


async def test_the_same_id_and_other_content_is_refused(served: Served) -> None:
    await served.sagas.CreateSaga(create(trip("trip-1")))
    told = await refused(served.sagas.CreateSaga(create(trip("trip-1", labels={"a": "b"}))))
    assert (told.code, told.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SAGA_ALREADY_EXISTS")
    assert told.details["ResourceInfo"].resource_name == "trip-1"
    assert told.details["ResourceInfo"].resource_type == "sagaline.v1.Saga"
    assert not served.runtime.sagas["trip-1"].record.spec.labels


@pytest.mark.parametrize(
    "saga_id", ["a", "A-b_c.d~e", "9" * limits.SAGA_ID_CHARS, "owner", "log", "sec", "record", "done"]
)
async def test_an_id_within_the_limits_is_taken_as_it_is(served: Served, saga_id: str) -> None:
    assert (await served.sagas.CreateSaga(create(trip(saga_id)))).saga.saga_id == saga_id


BAD_IDS = [
    "x" * (limits.SAGA_ID_CHARS + 1),
    "x" * 10_000,
    "a/b",
    "..",
    "-a",
    "a\x00b",
    "a\n",
    "a ",
    "a%2Fb/",
    "\u202eabc",
    "🚀",
    "e\u0301",
]


@pytest.mark.parametrize("saga_id", BAD_IDS, ids=range(len(BAD_IDS)))
async def test_an_id_outside_of_the_limits_is_refused(served: Served, saga_id: str) -> None:
    told = await refused(served.sagas.CreateSaga(create(trip(saga_id))))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert told.fields == [("saga.saga_id", "BAD_SAGA_ID")]
    assert not served.runtime.sagas


async def test_all_problems_are_told_in_one_error(served: Served) -> None:
    spec = trip("a/b", labels={"k" * 129: "v"})
    spec.scopes.append("no blanks")
    spec.graph.nodes[1].action.inputs["payment"].node = "nobody"
    spec.graph.nodes[2].action.undo.kind = 9  # type: ignore[assignment]
    spec.start_delay.seconds = -1
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert set(told.fields) == {
        ("saga.saga_id", "BAD_SAGA_ID"),
        (f"saga.labels[{'k' * 32}]", "BAD_LABEL"),
        ("saga.scopes[0]", "BAD_SCOPE"),
        ("saga.start_delay", "OUT_OF_RANGE"),
        ("saga.graph.nodes[1].action.inputs[payment]", "UNKNOWN_NODE"),
        ("saga.graph.nodes[2].action.undo.kind", "UNSERVED_POLICY"),
    }
    assert any(text.startswith("node confirm: ") for text in told.descriptions)
    assert not served.runtime.creations


async def test_a_list_of_problems_is_bounded_and_says_how_many_more_there_are(served: Served) -> None:
    spec = trip("trip-1")
    for number in range(50):
        spec.graph.nodes.add(name=f"node{number}").action.action = "bad name"
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert len(told.fields) == limits.PROBLEMS_REPORTED
    assert told.metadata == {"more_problems": "30"}
    assert "(and 49 more)" in told.message
    assert told.trailer_bytes < 8192


async def test_problems_with_huge_or_strange_names_fit_into_the_trailers(served: Served) -> None:
    spec = trip("trip-1")
    for number in range(30):
        node = spec.graph.nodes.add(name=f"{number}🚀" * 500)
        node.action.action = "a"
        node.action.inputs["\x1b[31m\n" * 2000].node = "🚀" * 400
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.reason == "INVALID_REQUEST"
    assert told.trailer_bytes < 6000
    assert int(told.metadata["more_problems"]) > 30
    assert told.message.isprintable()
    assert all(field.isprintable() for field, _ in told.fields)


async def test_payloads_and_records_are_bounded(served: Served) -> None:
    room = limits.PAYLOAD_BYTES - 2
    await served.sagas.CreateSaga(create(_with_params("fits", room)))
    told = await refused(served.sagas.CreateSaga(create(_with_params("too-large", room + 1))))
    assert told.fields == [("saga.params", "PAYLOAD_TOO_LARGE")]
    spec = _with_params("record", room)
    for name in ("a", "b", "c", "d"):
        spec.graph.nodes.add(name=name).constant.value.json = '"' + "x" * 200_000 + '"'
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga", "RECORD_TOO_LARGE")]
    assert set(served.runtime.sagas) == {"fits"}


def _with_params(saga_id: str, chars: int) -> saga_pb2.SagaSpec:
    spec = trip(saga_id)
    spec.params.CopyFrom(json_payload('"' + "x" * chars + '"'))
    return spec


async def test_a_graph_over_the_limit_of_nodes_is_refused(served: Served) -> None:
    spec = trip("trip-1")
    for number in range(limits.GRAPH_NODES):
        spec.graph.nodes.add(name=f"n{number}").constant.SetInParent()
    told = await refused(served.sagas.CreateSaga(create(spec)))
    assert told.fields == [("saga.graph.nodes", "TOO_MANY")]


async def test_a_runtime_that_cant_take_it_says_when_to_try_again(served: Served) -> None:
    served.runtime.trouble = Overloaded("the queue of 10.0.0.7 is full")
    told = await refused(served.sagas.CreateSaga(create(trip("trip-1"))))
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert told.details["RetryInfo"].retry_delay.nanos == 500_000_000
    assert "10.0.0.7" not in told.message
    served.runtime.trouble = NotServing("etcd at 10.0.0.7 is away")
    told = await refused(served.sagas.CreateSagas(saga_service_pb2.CreateSagasRequest(sagas=[trip("trip-1")])))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
    assert "10.0.0.7" not in told.message


@pytest.mark.parametrize(("refusal", "code"), [(Overloaded(), "RESOURCE_EXHAUSTED"), (NotServing(), "UNAVAILABLE")])
async def test_where_no_saga_at_all_was_taken_the_whole_call_fails(
    served: Served, refusal: RuntimeRefusal, code: str
) -> None:
    served.runtime.turned_away = refusal
    told = await refused(served.sagas.CreateSaga(create(trip("s1"))))
    assert (told.code.name, told.reason) == (code, refusal.code)
    request = saga_service_pb2.CreateSagasRequest(sagas=[trip("s1"), trip("a/b"), trip("s2")])
    told = await refused(served.sagas.CreateSagas(request))
    assert (told.code.name, told.reason) == (code, refusal.code)


# ---- batches


async def test_a_batch_tells_of_its_sagas_what_single_creations_tell(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = (await served.sagas.CreateSaga(create(trip("there", labels={"a": "b"})))).saga
    bad = trip("bad")
    bad.graph.nodes[0].name = "no blanks"
    specs = [trip("new"), trip("there", labels={"a": "b"}), bad]
    response = await served.sagas.CreateSagas(saga_service_pb2.CreateSagasRequest(sagas=specs, with_sagas=True))
    new = (await served.sagas.GetSaga(saga_service_pb2.GetSagaRequest(saga_id="new", view=BASIC))).saga
    assert [result.saga for result in response.results] == [new, there, saga_pb2.Saga()]
    assert [result.HasField("saga") for result in response.results] == [True, True, False]
    monkeypatch.setattr(creating, "RESPONSE_BYTES", 300)
    specs = [trip(str(number)) for number in range(30)]
    response = await served.sagas.CreateSagas(saga_service_pb2.CreateSagasRequest(sagas=specs, with_sagas=True))
    assert all(not result.HasField("error") for result in response.results)
    carried = [result.HasField("saga") for result in response.results]
    assert carried == sorted(carried, reverse=True), "the first ones carry theirs, as far as they fit"
    assert not carried[-1]


async def test_each_saga_of_a_batch_stands_for_itself(served: Served) -> None:
    await served.sagas.CreateSaga(create(trip("there")))
    bad = trip("bad")
    bad.graph.nodes[0].name = "no blanks"
    specs = [trip("new"), trip("there"), trip("there", labels={"a": "b"}), bad, trip("a/b"), trip("x" * 300), trip()]
    response = await served.sagas.CreateSagas(saga_service_pb2.CreateSagasRequest(sagas=specs))
    results = list(response.results)
    assert [result.saga_id for result in results[:6]] == ["new", "there", "there", "bad", "a/b", ""]
    assert uuid.UUID(results[6].saga_id).version == 7
    assert [result.existed for result in results] == [False, True, False, False, False, False, False]
    assert [result.error.reason for result in results] == [
        *("", "", "SAGA_ALREADY_EXISTS"),
        *("INVALID_REQUEST", "INVALID_REQUEST", "INVALID_REQUEST", ""),
    ]
    assert [result.error.code for result in results] == [0, 0, 6, 3, 3, 3, 0]
    problem = results[3].error.problems[0]
    assert (problem.field, problem.reason, problem.node) == ("saga.graph.nodes[0].name", "BAD_NAME", "no blanks")
    assert set(served.runtime.sagas) == {"there", "new", results[6].saga_id}


async def test_specs_name_graphs_that_came_beside_them(served: Served) -> None:
    request = saga_service_pb2.CreateSagasRequest()
    request.graphs["good"].CopyFrom(trip_graph())
    request.graphs["bad"].name = "empty"
    for number, key in enumerate(["good", "good", "bad", "missing", "", "good"]):
        request.sagas.add(saga_id=f"s{number}", graph_key=key)
    request.sagas[5].graph.CopyFrom(trip_graph())
    response = await served.sagas.CreateSagas(request)
    problems = [[(each.field, each.reason) for each in result.error.problems] for result in response.results]
    assert problems == [
        [],
        [],
        [("graphs[bad].nodes", "EMPTY_GRAPH")],
        [("saga.graph_key", "UNKNOWN_GRAPH_KEY")],
        [("saga.graph", "REQUIRED")],
        [("saga.graph_key", "GRAPH_GIVEN_TWICE")],
    ]
    record = served.runtime.sagas["s0"].record
    assert record.spec.graph == trip_graph()
    assert not record.spec.graph_key
    assert served.runtime.sagas["s0"].saga.topology is served.runtime.sagas["s1"].saga.topology


async def test_a_batch_and_single_sagas_of_one_graph_are_the_same(served: Served) -> None:
    request = saga_service_pb2.CreateSagasRequest()
    request.graphs["trip"].CopyFrom(trip_graph())
    spec = trip("trip-1")
    spec.ClearField("graph")
    spec.graph_key = "trip"
    request.sagas.append(spec)
    await served.sagas.CreateSagas(request)
    assert (await served.sagas.CreateSaga(create(trip("trip-1")))).existed


async def test_the_errors_of_a_large_batch_fit_into_one_message(served: Served) -> None:
    request = saga_service_pb2.CreateSagasRequest()
    for number in range(30):
        request.graphs["bad"].nodes.add(name="blank " * 10 + str(number)).action.action = "a b"
    for number in range(limits.CREATE_BATCH):
        request.sagas.add(saga_id=f"s{number}", graph_key="bad")
    response = await served.sagas.CreateSagas(request)
    assert len(response.results) == limits.CREATE_BATCH
    assert all(result.error.problems for result in response.results)
    assert response.ByteSize() < 3 * 1024 * 1024
    assert not served.runtime.creations
