"""The synchronous client against a channel that the test answers by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

import grpc
import grpc_testing
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from sagaline import errors
from sagaline.client.status import DETAILS_KEY, DOMAIN
from sagaline.sync import Client
from sagaline.v1 import admin_service_pb2, failure_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2
from tests.unit.client.samples import RUNNING, SUCCEEDED, TRIP, UNWOUND, Booking, Trip, end, entry, frame, result, trip

T = TypeVar("T")

SERVICES = (
    saga_service_pb2.DESCRIPTOR.services_by_name["SagaService"],
    admin_service_pb2.DESCRIPTOR.services_by_name["AdminService"],
)
OUTPUT = payload_pb2.Payload(json='{"number":7}')
DONE = saga_pb2.Saga(saga_id="t", state=SUCCEEDED, output=OUTPUT)


class Pending(Generic[T]):
    """A call of the client that is under way. Its thread is a daemon, so that a test that fails does not hang."""

    def __init__(self, function: Callable[[], T]) -> None:
        self._future: Future[T] = Future()
        threading.Thread(target=self._run, args=(function,), daemon=True).start()

    def _run(self, function: Callable[[], T]) -> None:
        try:
            self._future.set_result(function())
        except BaseException as error:  # noqa: BLE001 - the test's thread raises it
            self._future.set_exception(error)

    def result(self) -> T:
        return self._future.result(timeout=30)


class Wire:
    """The far end of the client's channel."""

    def __init__(self) -> None:
        self.channel = grpc_testing.channel(SERVICES, grpc_testing.strict_real_time())
        self.client = Client(channel=self.channel, timeout_s=20.0, patience_s=20.0)

    def call(self, function: Callable[..., T], *args: Any, **options: Any) -> Pending[T]:
        """Let the client call, in a thread of its own."""
        return Pending(lambda: function(*args, **options))

    def answer(self, method: str, response: Message) -> Any:
        """Take the next call of a method, answer it, and return its request."""
        request, rpc = self._take(method)
        rpc.send_initial_metadata(())
        rpc.terminate(response, (), grpc.StatusCode.OK, "")
        return request

    def refuse(self, method: str, code: grpc.StatusCode, *details: Message) -> Any:
        """Take the next call of a method, end it with an error, and return its request."""
        request, rpc = self._take(method)
        rpc.send_initial_metadata(())
        rpc.terminate(None, trailers(code, details), code, "no")
        return request

    def _take(self, method: str) -> tuple[Any, Any]:
        _metadata, request, rpc = self.channel.take_unary_unary(descriptor(method))
        return request, rpc

    def take_watch(self) -> tuple[Any, Any]:
        _metadata, request, rpc = self.channel.take_unary_stream(descriptor("WatchSaga"))
        rpc.send_initial_metadata(())
        return request, rpc

    def take_run(self) -> Any:
        _metadata, rpc = self.channel.take_stream_stream(descriptor("RunSagas"))
        rpc.send_initial_metadata(())
        return rpc


def descriptor(method: str) -> Any:
    return next(service.methods_by_name[method] for service in SERVICES if method in service.methods_by_name)


def trailers(code: grpc.StatusCode, details: tuple[Message, ...]) -> tuple[tuple[str, bytes], ...]:
    status = status_pb2.Status(code=code.value[0], message="no")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return ((DETAILS_KEY, status.SerializeToString()),)


@pytest.fixture
def wire() -> Wire:
    return Wire()


# ---- creating


def test_create_sends_the_saga_and_tells_what_came_of_it(wire: Wire) -> None:
    creating = wire.call(wire.client.create, TRIP, Trip("Oslo"), saga_id="t", labels={"team": "a"})
    request = wire.answer("CreateSaga", saga_service_pb2.CreateSagaResponse(saga=DONE, existed=True))
    assert request.saga == trip_spec("t", {"team": "a"})
    created = creating.result()
    assert (created.saga_id, created.existed, created.saga) == ("t", True, DONE)


def trip_spec(saga_id: str, labels: dict[str, str]) -> saga_pb2.SagaSpec:
    params = payload_pb2.Payload(json='{"city":"Oslo","days":1}')
    return saga_pb2.SagaSpec(saga_id=saga_id, graph=TRIP.to_proto(), params=params, labels=labels)


def test_a_creation_whose_answer_was_lost_is_repeated_with_the_same_id(wire: Wire) -> None:
    creating = wire.call(wire.client.create, TRIP, Trip("Oslo"))
    first = wire.refuse("CreateSaga", grpc.StatusCode.UNAVAILABLE)
    second = wire.answer("CreateSaga", saga_service_pb2.CreateSagaResponse(existed=True))
    assert first == second
    assert creating.result().saga_id == first.saga.saga_id != ""


def test_a_refused_saga_is_not_repeated_and_all_problems_are_told(wire: Wire) -> None:
    creating = wire.call(wire.client.create, TRIP, Trip("Oslo"))
    violation = error_details_pb2.BadRequest.FieldViolation(field="saga.graph", description="cycle", reason="CYCLE")
    wire.refuse(
        "CreateSaga",
        grpc.StatusCode.INVALID_ARGUMENT,
        error_details_pb2.ErrorInfo(reason="BAD_GRAPH", domain=DOMAIN),
        error_details_pb2.BadRequest(field_violations=[violation]),
    )
    with pytest.raises(errors.InvalidRequest) as raised:
        creating.result()
    assert raised.value.reason == "BAD_GRAPH"
    assert raised.value.problems == (errors.FieldProblem("saga.graph", "CYCLE", "cycle"),)


def test_create_many_sends_batches_and_keeps_the_order(wire: Wire) -> None:
    news = [trip(f"{number:03}") for number in range(501)]
    creating = wire.call(wire.client.create_many, news)
    seen: list[str] = []
    for count in (500, 1):
        results = [result(new.saga_id) for new in news[len(seen) : len(seen) + count]]
        request = wire.answer("CreateSagas", saga_service_pb2.CreateSagasResponse(results=results))
        assert len(request.graphs) == 1
        seen += [spec.saga_id for spec in request.sagas]
    assert [created.saga_id for created in creating.result()] == seen == [new.saga_id for new in news]


# ---- running and waiting


def test_run_creates_waits_and_decodes_in_one_call(wire: Wire) -> None:
    running = wire.call(wire.client.run, TRIP, Trip("Oslo"), saga_id="t", labels={"team": "a"})
    request = wire.answer("RunSaga", saga_service_pb2.RunSagaResponse(saga=DONE))
    assert request.saga == trip_spec("t", {"team": "a"})
    assert request.or_needs_operator
    assert request.timeout.ToSeconds() == 60
    assert running.result() == Booking(7)


def test_a_run_whose_answer_was_lost_is_repeated_with_the_same_id(wire: Wire) -> None:
    running = wire.call(wire.client.run, TRIP, Trip("Oslo"), wait_s=1_000.0)
    first = wire.refuse("RunSaga", grpc.StatusCode.UNAVAILABLE)
    assert first.saga.saga_id
    assert wire.answer("RunSaga", saga_service_pb2.RunSagaResponse(saga=DONE, existed=True)) == first
    assert running.result() == Booking(7)


def test_a_call_that_a_stopping_server_cancelled_before_it_began_is_repeated(wire: Wire) -> None:
    """Nobody here cancelled it; gRPC's servers end so what had arrived and was not begun."""
    running = wire.call(wire.client.run, TRIP, Trip("Oslo"))
    first = wire.refuse("RunSaga", grpc.StatusCode.CANCELLED)
    assert wire.answer("RunSaga", saga_service_pb2.RunSagaResponse(saga=DONE)) == first
    assert running.result() == Booking(7)
    stepping = wire.call(wire.client.step, "t")
    wire.refuse("StepSaga", grpc.StatusCode.CANCELLED)
    with pytest.raises(errors.CallStopped):
        stepping.result()


def test_run_goes_on_waiting_until_the_saga_has_ended(wire: Wire) -> None:
    running = wire.call(wire.client.run, TRIP, Trip("Oslo"), saga_id="t")
    wire.answer("RunSaga", saga_service_pb2.RunSagaResponse(saga=saga_pb2.Saga(saga_id="t", state=RUNNING)))
    request = wire.answer("WaitSaga", saga_service_pb2.WaitSagaResponse(saga=saga_pb2.Saga(saga_id="t", state=RUNNING)))
    assert (request.saga_id, request.or_needs_operator) == ("t", True)
    wire.refuse("WaitSaga", grpc.StatusCode.UNAVAILABLE)
    failure = failure_pb2.Failure(type="Full", message="no room")
    unwound = saga_pb2.Saga(saga_id="t", state=UNWOUND, failed_node="hotel", failure=failure)
    wire.answer("WaitSaga", saga_service_pb2.WaitSagaResponse(saga=unwound))
    with pytest.raises(errors.SagaUnwound) as raised:
        running.result()
    assert raised.value.failed_node == "hotel"
    assert raised.value.failure == errors.FailureInfo("Full", "no room")


def test_a_wait_ends_when_its_time_is_over(wire: Wire) -> None:
    waiting = wire.call(wire.client.wait, "t", wait_s=1e-9)
    wire.answer("WaitSaga", saga_service_pb2.WaitSagaResponse(saga=saga_pb2.Saga(saga_id="t", state=RUNNING)))
    with pytest.raises(errors.SagaUnfinished):
        waiting.result()


def test_a_run_ends_when_its_time_is_over_and_the_saga_goes_on(wire: Wire) -> None:
    running = wire.call(wire.client.run, TRIP, Trip("Oslo"), saga_id="t", wait_s=1e-9)
    request = wire.answer("RunSaga", saga_service_pb2.RunSagaResponse(saga=saga_pb2.Saga(saga_id="t", state=RUNNING)))
    assert request.timeout.ToMilliseconds() == 0
    with pytest.raises(errors.SagaUnfinished):
        running.result()


def test_run_many_goes_on_where_its_stream_broke(wire: Wire) -> None:
    running = wire.call(lambda: list(wire.client.run_many([trip("a"), trip("b"), trip("c")])))
    rpc = wire.take_run()
    assert [spec.saga_id for spec in rpc.take_request().sagas] == ["a", "b", "c"]
    rpc.send_response(saga_service_pb2.RunSagasResponse(results=[result("a"), result("b")], ends=[end("a", 1)]))
    # With any other status this channel would drop the response; test_aio_client.py breaks streams for real.
    rpc.terminate((), grpc.StatusCode.OK, "")
    rpc = wire.take_run()
    assert list(rpc.take_request().follow_ids) == ["b"]
    assert [spec.saga_id for spec in rpc.take_request().sagas] == ["c"]
    rpc.send_response(saga_service_pb2.RunSagasResponse(results=[result("c", existed=True)], ends=[end("c", 3)]))
    rpc.send_response(saga_service_pb2.RunSagasResponse(ends=[end("b", 2)]))
    assert [(each.saga_id, each.result()) for each in running.result()] == [
        ("a", Booking(1)),
        ("c", Booking(3)),
        ("b", Booking(2)),
    ]


def test_run_many_of_nothing_calls_nobody(wire: Wire) -> None:
    assert list(wire.client.run_many([])) == []


# ---- reading


def test_get_returns_the_saga(wire: Wire) -> None:
    getting = wire.call(wire.client.get, "t")
    request = wire.answer("GetSaga", saga_service_pb2.GetSagaResponse(saga=DONE))
    assert request == saga_service_pb2.GetSagaRequest(saga_id="t", view=saga_pb2.SAGA_VIEW_FULL)
    assert getting.result() == DONE


def test_a_saga_that_is_not_there(wire: Wire) -> None:
    getting = wire.call(wire.client.get, "t")
    info = error_details_pb2.ErrorInfo(reason="SAGA_NOT_FOUND", domain=DOMAIN)
    wire.refuse("GetSaga", grpc.StatusCode.NOT_FOUND, info)
    with pytest.raises(errors.SagaNotFound):
        getting.result()


def test_list_reads_page_after_page_also_empty_ones(wire: Wire) -> None:
    listing = wire.call(lambda: [saga.saga_id for saga in wire.client.list(graph_name="trip")])
    pages = [(["a", "b"], "1"), ([], "2"), (["c"], "")]
    tokens = []
    for ids, token in pages:
        sagas = [saga_pb2.Saga(saga_id=saga_id) for saga_id in ids]
        response = saga_service_pb2.ListSagasResponse(sagas=sagas, next_page_token=token)
        request = wire.answer("ListSagas", response)
        assert request.filter.graph_name == "trip"
        tokens.append(request.page_token)
    assert listing.result() == ["a", "b", "c"]
    assert tokens == ["", "1", "2"]


def test_log_reads_page_after_page(wire: Wire) -> None:
    reading = wire.call(lambda: [each.seq for each in wire.client.log("t", from_seq=2)])
    first = wire.answer("GetSagaLog", saga_service_pb2.GetSagaLogResponse(entries=[entry(2), entry(3)], next_seq=4))
    second = wire.answer("GetSagaLog", saga_service_pb2.GetSagaLogResponse(entries=[entry(4)]))
    assert (first.from_seq, second.from_seq) == (2, 4)
    assert reading.result() == [2, 3, 4]


def test_watch_goes_on_where_its_stream_broke(wire: Wire) -> None:
    watching = wire.call(lambda: [each.seq for each in wire.client.watch("t")])
    request, rpc = wire.take_watch()
    assert request.from_seq == 1
    rpc.terminate((), grpc.StatusCode.UNAVAILABLE, "gone")
    request, rpc = wire.take_watch()
    assert request.from_seq == 1
    rpc.send_response(frame(1, 2))
    rpc.terminate((), grpc.StatusCode.OK, "")  # a server that goes away in order
    request, rpc = wire.take_watch()
    assert request.from_seq == 3
    rpc.send_response(frame(5))  # a gap: this stream is given up
    request, rpc = wire.take_watch()
    assert request.from_seq == 3
    rpc.send_response(frame(2, 3))
    rpc.terminate((), grpc.StatusCode.OK, "")
    request, rpc = wire.take_watch()
    assert request.from_seq == 4
    rpc.send_response(frame(4, state=SUCCEEDED))
    rpc.terminate((), grpc.StatusCode.OK, "")
    assert watching.result() == [1, 2, 3, 4]


def test_watch_of_no_saga(wire: Wire) -> None:
    watching = wire.call(lambda: list(wire.client.watch("t")))
    _request, rpc = wire.take_watch()
    info = error_details_pb2.ErrorInfo(reason="SAGA_NOT_FOUND", domain=DOMAIN)
    rpc.terminate(trailers(grpc.StatusCode.NOT_FOUND, (info,)), grpc.StatusCode.NOT_FOUND, "none")
    with pytest.raises(errors.SagaNotFound):
        watching.result()


def test_workers_and_why(wire: Wire) -> None:
    asking = wire.call(wire.client.workers)
    worker = admin_service_pb2.WorkerStatus(worker_id="w")
    wire.answer("ListWorkers", admin_service_pb2.ListWorkersResponse(workers=[worker]))
    assert list(asking.result()) == [worker]
    explaining = wire.call(wire.client.explain, "t")
    wait = admin_service_pb2.NodeWait(node="hotel", reason=admin_service_pb2.WAIT_REASON_NO_WORKER)
    request = wire.answer("ExplainSaga", admin_service_pb2.ExplainSagaResponse(waits=[wait], warnings=["drift"]))
    assert request.saga_id == "t"
    told = explaining.result()
    assert (list(told.waits), list(told.warnings)) == ([wait], ["drift"])


# ---- steering


@pytest.mark.parametrize(
    ("name", "method"), [("pause", "PauseSaga"), ("resume", "ResumeSaga"), ("unwind", "UnwindSaga")]
)
def test_steering_is_repeated(wire: Wire, name: str, method: str) -> None:
    steering = wire.call(getattr(wire.client, name), "t", actor="me", reason="why")
    wire.refuse(method, grpc.StatusCode.UNAVAILABLE)
    response = getattr(saga_service_pb2, f"{method}Response")(saga=DONE)
    request = wire.answer(method, response)
    assert (request.saga_id, request.by.actor, request.by.reason) == ("t", "me", "why")
    assert steering.result() == DONE


def test_a_decision_is_never_repeated(wire: Wire) -> None:
    resolving = wire.call(wire.client.resolve, "t", "hotel", log_pb2.RESOLUTION_RETRY, actor="me", reason="why")
    wire.refuse("ResolveNode", grpc.StatusCode.UNAVAILABLE)
    with pytest.raises(errors.Unavailable):
        resolving.result()
