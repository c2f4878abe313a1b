"""CountSagas and BatchControlSagas."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from sagaline.v1 import saga_pb2 as saga
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.api import selecting
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import refused
from tests.unit.api.specs import trip
from tests.unit.api.test_listing import create, various

__all__ = ["various"]

PAUSE, RESUME, UNWIND = pb.BATCH_CONTROL_PAUSE, pb.BATCH_CONTROL_RESUME, pb.BATCH_CONTROL_UNWIND
RUNNING = pb.SagaFilter(states=[saga.SAGA_STATE_RUNNING])


async def count(served: Served, given: pb.SagaFilter) -> dict[Any, int]:
    response = await served.sagas.CountSagas(pb.CountSagasRequest(filter=given))
    return {each.state: each.count for each in response.counts}


async def batch(served: Served, given: pb.SagaFilter, control: Any) -> list[pb.BatchControlSagasResponse]:
    """Return all answers of a batch."""
    answers: list[pb.BatchControlSagasResponse] = []
    token, more = "", True
    while more:
        request = pb.BatchControlSagasRequest(
            filter=given, control=control, by=pb.Attribution(actor="ann", reason="look"), page_token=token
        )
        answers.append(await served.sagas.BatchControlSagas(request))
        token = answers[-1].next_page_token
        more = bool(token)
    return answers


def obeyed(answers: list[pb.BatchControlSagasResponse]) -> list[str]:
    return [saga_id for answer in answers for saga_id in answer.saga_ids]


async def test_counts_by_state(various: Served) -> None:
    assert await count(various, pb.SagaFilter()) == {
        saga.SAGA_STATE_RUNNING: 3,
        saga.SAGA_STATE_SUCCEEDED: 1,
        saga.SAGA_STATE_UNWOUND: 1,
        saga.SAGA_STATE_STUCK: 1,
    }
    assert await count(various, pb.SagaFilter(failed_node="pay")) == {saga.SAGA_STATE_UNWOUND: 1}
    assert await count(various, pb.SagaFilter(scope="nowhere")) == {}


async def test_counts_go_beyond_a_page(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "SCANNED_AT_ONCE", 7)
    await create(served, *(trip(f"s{number:02}") for number in range(30)))
    assert await count(served, pb.SagaFilter()) == {saga.SAGA_STATE_RUNNING: 30}


async def test_a_batch_is_paused_and_resumed_and_may_be_repeated(
    various: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(selecting, "CONTROLLED_MAX", 2)
    for control, paused in ((PAUSE, True), (PAUSE, True), (RESUME, False)):
        answers = await batch(various, RUNNING, control)
        assert obeyed(answers) == ["other", "red", "young"]
        assert [len(answer.saga_ids) for answer in answers] == [2, 1]
        for saga_id in obeyed(answers):
            assert (await various.sagas.GetSaga(pb.GetSagaRequest(saga_id=saga_id))).saga.paused is paused


async def test_what_has_ended_is_passed_over_and_what_refuses_is_told(various: Served) -> None:
    assert obeyed(await batch(various, pb.SagaFilter(states=[saga.SAGA_STATE_SUCCEEDED]), UNWIND)) == []
    answers = await batch(various, pb.SagaFilter(graph_name="trip"), UNWIND)
    assert obeyed(answers) == ["red", "stuck", "young"]
    assert not any(answer.refused for answer in answers)
    assert set(await count(various, RUNNING)) == {saga.SAGA_STATE_RUNNING}


async def test_a_batch_looks_at_a_bounded_number_of_sagas(various: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selecting, "SCANNED_MAX", 2)
    monkeypatch.setattr(selecting, "SCANNED_AT_ONCE", 2)
    answers = await batch(various, pb.SagaFilter(labels={"team": "red"}), PAUSE)
    assert obeyed(answers) == ["red"]
    assert len(answers) > 1


@pytest.mark.parametrize(
    ("request_", "fields"),
    [
        (pb.BatchControlSagasRequest(control=PAUSE), ["filter"]),
        (pb.BatchControlSagasRequest(filter=RUNNING), ["control"]),
        (pb.BatchControlSagasRequest(filter=RUNNING, control=99), ["control"]),  # type: ignore[arg-type]
        (pb.BatchControlSagasRequest(filter=RUNNING, control=PAUSE, page_token="x"), ["page_token"]),
    ],
)
async def test_a_batch_that_is_not_clear_is_refused(
    served: Served, request_: pb.BatchControlSagasRequest, fields: list[str]
) -> None:
    told = await refused(served.sagas.BatchControlSagas(request_))
    assert told.code is grpc.StatusCode.INVALID_ARGUMENT
    assert [field for field, _ in told.fields] == fields
