"""A wait of any length, made of calls that have a deadline."""

from __future__ import annotations

import pytest

from sagaline import errors
from sagaline.client.calls import WAIT_MARGIN_S, WAIT_SLICE_S
from sagaline.client.waiting import EARLY_ANSWER_PAUSE_S, Waiting
from sagaline.v1 import saga_pb2

RUNNING = saga_pb2.Saga(saga_id="s", state=saga_pb2.SAGA_STATE_RUNNING)
STUCK = saga_pb2.Saga(saga_id="s", state=saga_pb2.SAGA_STATE_STUCK, needs_operator=True)
DONE = saga_pb2.Saga(saga_id="s", state=saga_pb2.SAGA_STATE_SUCCEEDED)


def waiting(timeout_s: float | None = None, *, or_needs_operator: bool = False) -> Waiting:
    return Waiting("s", 100.0, timeout_s, or_needs_operator)


@pytest.mark.parametrize(
    ("timeout_s", "now_s", "slice_s"),
    [
        (None, 100.0, WAIT_SLICE_S),
        (None, 1e9, WAIT_SLICE_S),
        (90.0, 100.0, 60.0),
        (90.0, 160.0, 30.0),
        (5.0, 200.0, 0.0),
    ],
)
def test_each_call_waits_for_a_slice_of_what_remains(timeout_s: float | None, now_s: float, slice_s: float) -> None:
    call = waiting(timeout_s).next_call(now_s)
    assert call.request.timeout.ToTimedelta().total_seconds() == slice_s  # type: ignore[attr-defined]
    assert call.timeout_s == slice_s + WAIT_MARGIN_S


def test_it_is_over_when_the_saga_has_ended() -> None:
    assert waiting().is_over(DONE, 101.0)
    assert waiting(1.0).is_over(DONE, 500.0)
    assert not waiting().is_over(RUNNING, 1e9)


def test_a_saga_that_needs_an_operator_ends_the_wait_where_that_is_asked_for() -> None:
    assert waiting(or_needs_operator=True).is_over(STUCK, 101.0)
    assert not waiting().is_over(STUCK, 101.0)


def test_the_end_of_the_time_is_an_error_that_says_how_the_saga_stands() -> None:
    with pytest.raises(errors.SagaUnfinished):
        waiting(5.0).is_over(RUNNING, 105.0)
    with pytest.raises(errors.SagaStuck):
        waiting(5.0).is_over(STUCK, 105.0)


def test_an_answer_before_its_time_is_not_followed_by_a_flood_of_calls() -> None:
    assert waiting().pause_s(100.0, 100.1, 1.0) == EARLY_ANSWER_PAUSE_S
    assert waiting().pause_s(100.0, 160.0, 1.0) == 0.0
