"""What unary calls send, and what is made of their answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline import errors
from sagaline.client import calls
from sagaline.client.sagas import Batcher
from sagaline.v1 import admin_service_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2
from tests.unit.client.samples import result, trip


def test_an_empty_filter_selects_everything() -> None:
    assert calls.saga_filter({}) == saga_service_pb2.SagaFilter()


def test_every_part_of_a_filter_is_sent() -> None:
    selected = calls.saga_filter(
        {
            "states": [saga_pb2.SAGA_STATE_STUCK],
            "graph_name": "trip",
            "labels": {"team": "a"},
            "created_from": datetime(2026, 1, 1, tzinfo=UTC),
            "created_before": datetime(2026, 1, 1, 1, tzinfo=UTC),
            "needs_operator": True,
            "scope": "rack/17",
            "failed_node": "pay",
            "idle_for": timedelta(minutes=1),
        }
    )
    assert selected == saga_service_pb2.SagaFilter(
        states=[saga_pb2.SAGA_STATE_STUCK],
        graph_name="trip",
        labels={"team": "a"},
        create_time_from=Timestamp(seconds=1_767_225_600),
        create_time_before=Timestamp(seconds=1_767_229_200),
        needs_operator=True,
        scope="rack/17",
        failed_node="pay",
        idle_for=Duration(seconds=60),
    )


def test_a_time_without_its_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        calls.saga_filter({"created_from": datetime(2026, 1, 1)})  # noqa: DTZ001


def test_a_batch_of_results_is_told_saga_by_saga() -> None:
    batcher = Batcher(stream=False)
    news = [trip("a"), trip("b"), trip("c")]
    for new in news:
        batcher.add(new)
    batch = batcher.next_batch()
    assert batch is not None
    call = calls.create_batch(batch, news)
    refused = saga_service_pb2.BatchError(code=6, reason="SAGA_ALREADY_EXISTS", message="other content")
    results = [result("a"), result("b", existed=True), result("c", error=refused)]
    created = call.parse(saga_service_pb2.CreateSagasResponse(results=results))
    assert [(each.saga_id, each.existed) for each in created] == [("a", False), ("b", True), ("c", False)]
    assert [type(each.error) for each in created] == [type(None), type(None), errors.SagaAlreadyExists]


def test_a_batch_with_too_few_results_is_refused() -> None:
    batcher = Batcher(stream=False)
    batcher.add(trip("a"))
    batch = batcher.next_batch()
    assert batch is not None
    with pytest.raises(errors.UnexpectedAnswer):
        calls.create_batch(batch, [trip("a")]).parse(saga_service_pb2.CreateSagasResponse())


def test_what_would_be_done_twice_is_never_repeated() -> None:
    call = calls.resolve(
        "s", "server/pick", log_pb2.RESOLUTION_SUPPLY_OUTPUT, payload_pb2.Payload(json="1"), "me", "by hand", 14
    )
    assert not call.method.repeatable
    assert not calls.hand_off("s", "").method.repeatable
    assert not calls.drain("", 1.0).method.repeatable
    assert call.request == saga_service_pb2.ResolveNodeRequest(
        saga_id="s",
        node="server/pick",
        resolution=log_pb2.RESOLUTION_SUPPLY_OUTPUT,
        by=saga_service_pb2.Attribution(actor="me", reason="by hand"),
        output=payload_pb2.Payload(json="1"),
        expected_log_length=14,
    )


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (calls.pause("s", "me", "why"), saga_service_pb2.PauseSagaRequest),
        (calls.resume("s", "me", "why"), saga_service_pb2.ResumeSagaRequest),
        (calls.unwind("s", "me", "why"), saga_service_pb2.UnwindSagaRequest),
    ],
)
def test_who_asks_and_why_is_sent(call: calls.Call[saga_pb2.Saga], kind: type) -> None:
    by = saga_service_pb2.Attribution(actor="me", reason="why")
    assert call.request == kind(saga_id="s", by=by)
    assert call.method.repeatable


def test_a_drain_has_the_time_that_it_may_take() -> None:
    call = calls.drain("sec-2", 90.0)
    assert call.request == admin_service_pb2.DrainSecRequest(sec_id="sec-2", timeout=Duration(seconds=90))
    assert call.timeout_s is not None
    assert call.timeout_s > 90.0
