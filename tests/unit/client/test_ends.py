"""Results, and the errors that stand where there is none."""

from __future__ import annotations

import pytest

from sagaline import errors
from sagaline.client.ends import result_of
from sagaline.v1 import failure_pb2, payload_pb2, saga_pb2
from tests.unit.client.samples import Booking, trip

FAILURE = failure_pb2.Failure(type="Full", message="no room")


def saga(state: saga_pb2.SagaState.ValueType, **fields: object) -> saga_pb2.Saga:
    return saga_pb2.Saga(saga_id="t", state=state, **fields)  # type: ignore[arg-type]


def test_a_saga_that_succeeded_has_its_result() -> None:
    done = saga(saga_pb2.SAGA_STATE_SUCCEEDED, output=payload_pb2.Payload(json='{"number":9}'))
    assert result_of(trip("t"), done) == Booking(9)


@pytest.mark.parametrize(
    ("stands", "kind"),
    [
        (saga(saga_pb2.SAGA_STATE_UNWOUND, failure=FAILURE, failed_node="hotel"), errors.SagaUnwound),
        (saga(saga_pb2.SAGA_STATE_STUCK, failure=FAILURE, needs_operator=True), errors.SagaStuck),
        (saga(saga_pb2.SAGA_STATE_RUNNING, needs_operator=True), errors.SagaHeld),
        (saga(saga_pb2.SAGA_STATE_UNWINDING, needs_operator=True), errors.SagaHeld),
        (saga(saga_pb2.SAGA_STATE_QUARANTINED, needs_operator=True), errors.SagaQuarantined),
        (saga(saga_pb2.SAGA_STATE_RUNNING), errors.SagaUnfinished),
        (saga(saga_pb2.SAGA_STATE_UNWINDING), errors.SagaUnfinished),
    ],
)
def test_every_other_saga_has_an_error_that_says_how_it_stands(
    stands: saga_pb2.Saga, kind: type[errors.SagaNotSucceeded]
) -> None:
    with pytest.raises(errors.SagaNotSucceeded) as raised:
        result_of(trip("t"), stands)
    error = raised.value
    assert type(error) is kind
    assert error.saga_id == "t"
    assert error.failed_node == stands.failed_node
    assert (error.failure == errors.FailureInfo("Full", "no room")) is stands.HasField("failure")
    assert error.message.startswith("saga t ")
