"""WaitSaga and RunSaga: what they answer, when, and what of a run is left when its call ends otherwise."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline.v1 import saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.runtime.requests import NotServing
from tests.unit.api.conftest import Served
from tests.unit.api.fake_runtime import NO_EFFECT, everything_succeeds, only_pay_succeeds
from tests.unit.api.refusals import refused
from tests.unit.api.specs import trip
from tests.unit.api.waiting import until

SUCCEEDED, RUNNING, STUCK = saga_pb2.SAGA_STATE_SUCCEEDED, saga_pb2.SAGA_STATE_RUNNING, saga_pb2.SAGA_STATE_STUCK


def run(saga_id: str = "s1", timeout: float | None = None, *, or_needs_operator: bool = False) -> pb.RunSagaRequest:
    request = pb.RunSagaRequest(saga=trip(saga_id), or_needs_operator=or_needs_operator)
    if timeout is not None:
        request.timeout.FromMilliseconds(round(timeout * 1000))
    return request


# ---- WaitSaga


async def test_a_wait_ends_with_the_saga(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    waiting = asyncio.ensure_future(served.sagas.WaitSaga(pb.WaitSagaRequest(saga_id="s1")))
    await until(lambda: bool(served.runtime.waits))
    served.runtime.run_on()
    assert (await waiting).saga.state == SUCCEEDED
    assert served.runtime.waits == [600.0]


async def test_a_wait_ends_with_its_time_and_before_the_deadline_of_the_call(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    request = pb.WaitSagaRequest(saga_id="s1")
    request.timeout.SetInParent()
    assert (await served.sagas.WaitSaga(request)).saga.state == RUNNING
    request.ClearField("timeout")
    assert (await served.sagas.WaitSaga(request, timeout=0.4)).saga.state == RUNNING
    assert served.runtime.waits[0] == 0.0
    assert 0.2 < served.runtime.waits[1] < 0.38


async def test_a_wait_may_end_with_the_need_for_an_operator(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    served.runtime.finish("s1", "pay")
    served.runtime.ending = lambda *_: NO_EFFECT
    served.runtime.finish("s1", "hotel", NO_EFFECT)
    response = await served.sagas.WaitSaga(pb.WaitSagaRequest(saga_id="s1", or_needs_operator=True))
    assert response.saga.state == STUCK
    assert response.saga.needs_operator


# ---- RunSaga


async def test_a_run_creates_the_saga_and_answers_with_its_end(served: Served) -> None:
    served.runtime.ending = everything_succeeds
    response = await served.sagas.RunSaga(run())
    assert (response.saga.saga_id, response.saga.state, response.existed) == ("s1", SUCCEEDED, False)
    assert response.saga.output.json == '"done"'
    assert served.runtime.creations == 1


async def test_a_run_waits_as_long_as_the_saga_takes(served: Served) -> None:
    running = asyncio.ensure_future(served.sagas.RunSaga(run()))
    await until(lambda: bool(served.runtime.waits))
    assert served.runtime.waits == [600.0]
    served.runtime.run_on()
    assert (await running).saga.state == SUCCEEDED


async def test_a_run_that_is_repeated_attaches_to_the_saga_and_waits(served: Served) -> None:
    """Rule 17: the same id and content returns the saga, in whatever state it is."""
    first = served.sagas.RunSaga(run())
    await until(lambda: bool(served.runtime.waits))
    first.cancel()
    second = asyncio.ensure_future(served.sagas.RunSaga(run()))
    await until(lambda: len(served.runtime.waits) > 1)
    served.runtime.run_on()
    response = await second
    assert (response.saga.state, response.existed) == (SUCCEEDED, True)
    again = await served.sagas.RunSaga(run())
    assert (again.saga, again.existed) == (response.saga, True)
    assert len(served.runtime.sagas) == 1


async def test_a_run_of_other_content_under_the_same_id_is_refused(served: Served) -> None:
    """Rule 17: other content is ALREADY_EXISTS; it is not waited for."""
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    request = run()
    request.saga.labels["team"] = "b"
    told = await refused(served.sagas.RunSaga(request))
    assert (told.code, told.reason) == (grpc.StatusCode.ALREADY_EXISTS, "SAGA_ALREADY_EXISTS")
    assert served.runtime.waits == []


async def test_a_run_whose_time_is_over_answers_with_the_saga_as_it_is(served: Served) -> None:
    response = await served.sagas.RunSaga(run(timeout=0))
    assert (response.saga.state, response.existed) == (RUNNING, False)
    response = await served.sagas.RunSaga(run(), timeout=0.4)
    assert (response.saga.state, response.existed) == (RUNNING, True)
    assert served.runtime.waits[0] == 0.0
    assert 0.0 < served.runtime.waits[1] < 0.38, "it ends before the deadline of the call"


@pytest.mark.parametrize("counts", [True, False])
async def test_a_run_may_end_with_the_need_for_an_operator(served: Served, counts: bool) -> None:
    served.runtime.ending = only_pay_succeeds
    response = await served.sagas.RunSaga(run(timeout=30.0 if counts else 0.2, or_needs_operator=counts))
    assert (response.saga.state, response.saga.needs_operator) == (STUCK, True)


async def test_everything_wrong_with_a_run_is_told_at_once(served: Served) -> None:
    request = run()
    request.saga.graph.nodes[0].name = ""
    request.timeout.CopyFrom(Duration(seconds=601))
    told = await refused(served.sagas.RunSaga(request))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert told.fields[0] == ("timeout", "OUT_OF_RANGE")
    assert any(field.startswith("saga.graph.nodes[0]") for field, _ in told.fields)
    assert not served.runtime.sagas


async def test_a_run_that_is_turned_away_may_be_repeated(served: Served) -> None:
    served.runtime.turned_away = NotServing("it stops")
    told = await refused(served.sagas.RunSaga(run()))
    assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")


async def test_a_run_is_not_cut_short_by_the_deadline_of_other_calls(served: Served) -> None:
    """The server of these tests gives unary calls one second."""
    assert (await served.sagas.RunSaga(run(timeout=1.2))).saga.state == RUNNING
