"""When a call is made again, and when not."""

from __future__ import annotations

import pytest

from sagaline import errors
from sagaline.client.repeating import BACKOFF_MAXIMUM_S, STREAM_TIMEOUT_S, Attempts, backoff_s

UNARY = {"started_s": 100.0, "timeout_s": 30.0, "patience_s": 10.0, "repeatable": True}
STREAM = {"started_s": 100.0, "timeout_s": None, "patience_s": 10.0, "repeatable": True}


def attempts(**changes: object) -> Attempts:
    return Attempts(**{**UNARY, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("failures", "delay_s"), [(1, 0.1), (2, 0.2), (3, 0.4), (5, 1.6), (6, BACKOFF_MAXIMUM_S), (10_000, 3.0)]
)
def test_the_wait_doubles_up_to_a_bound(failures: int, delay_s: float) -> None:
    assert backoff_s(failures, 1.0) == pytest.approx(delay_s)
    assert backoff_s(failures, 0.5) == pytest.approx(delay_s / 2)
    assert backoff_s(failures, 0.0) == 0.0


@pytest.mark.parametrize(
    "error",
    [
        errors.Unavailable("gone"),
        errors.CallStopped("it ended"),
        errors.LimitReached("full", retry_delay_s=0.5),
        errors.Conflict("x", retry_delay_s=0),
    ],
)
def test_a_passing_error_is_followed_by_another_attempt(error: errors.RpcError) -> None:
    delay_s = attempts().delay_s(error, 101.0, 1.0)
    assert delay_s == (0.1 if error.retry_delay_s is None else error.retry_delay_s)


@pytest.mark.parametrize(
    "error",
    [
        errors.InvalidRequest("bad"),
        errors.SagaNotFound("none"),
        errors.LimitReached("full"),
        errors.CallTimeout("late"),
        errors.CallStopped("stopped", reason="ASKED_TO"),
        errors.ServerFault("oops"),
    ],
)
def test_any_other_error_ends_a_unary_call(error: errors.RpcError) -> None:
    with pytest.raises(type(error)) as raised:
        attempts().delay_s(error, 101.0, 1.0)
    assert raised.value is error


def test_a_call_that_is_not_safe_to_repeat_is_made_once() -> None:
    with pytest.raises(errors.Unavailable):
        attempts(repeatable=False).delay_s(errors.Unavailable("gone"), 101.0, 0.0)


def test_all_attempts_share_the_timeout() -> None:
    call = attempts()
    assert call.attempt_timeout_s(100.0) == 30.0
    assert call.attempt_timeout_s(125.0) == 5.0
    assert call.attempt_timeout_s(131.0) > 0.0
    with pytest.raises(errors.Unavailable):
        call.delay_s(errors.Unavailable("gone"), 129.95, 1.0)


def test_patience_is_counted_from_the_first_failure_in_a_row() -> None:
    call = attempts(timeout_s=1_000.0)
    assert call.delay_s(errors.Unavailable("gone"), 300.0, 1.0) > 0
    assert call.delay_s(errors.Unavailable("gone"), 309.0, 1.0) > 0
    with pytest.raises(errors.Unavailable):
        call.delay_s(errors.Unavailable("gone"), 309.9, 1.0)


def test_progress_renews_the_patience_of_a_stream() -> None:
    stream = Attempts(**STREAM)  # type: ignore[arg-type]
    stream.delay_s(errors.Unavailable("gone"), 105.0, 1.0)
    stream.progressed()
    assert stream.delay_s(errors.Unavailable("gone"), 500.0, 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "error",
    [
        errors.CallTimeout("its own deadline", status="DEADLINE_EXCEEDED"),
        errors.CallStopped("the server stopped", status="CANCELLED"),
        errors.ServerFault("RST_STREAM", status="INTERNAL"),
        errors.UnexpectedAnswer("a gap"),
    ],
)
def test_a_stream_goes_on_after_what_only_the_connection_can_have_said(error: errors.RpcError) -> None:
    stream = Attempts(**STREAM)  # type: ignore[arg-type]
    assert stream.delay_s(error, 101.0, 1.0) == pytest.approx(0.1)


def test_a_stream_ends_with_what_the_server_said() -> None:
    stream = Attempts(**STREAM)  # type: ignore[arg-type]
    with pytest.raises(errors.ServerFault):
        stream.delay_s(errors.ServerFault("oops", reason="INTERNAL"), 101.0, 1.0)
    with pytest.raises(errors.SagaNotFound):
        stream.delay_s(errors.SagaNotFound("none", reason="SAGA_NOT_FOUND"), 101.0, 1.0)


def test_a_stream_too_has_a_deadline() -> None:
    assert Attempts(**STREAM).attempt_timeout_s(9_999.0) == STREAM_TIMEOUT_S  # type: ignore[arg-type]


def test_every_address_is_tried_before_the_first_wait() -> None:
    call = attempts(addresses=3)
    waits = [call.delay_s(errors.Unavailable("gone"), 101.0, 1.0) for _ in range(6)]
    assert waits == pytest.approx([0.0, 0.0, 0.1, 0.0, 0.0, 0.2])


def test_what_was_not_sent_is_tried_again_whatever_it_is() -> None:
    call = attempts(repeatable=False, addresses=2)
    assert call.delay_s(errors.Unavailable("gone"), 101.0, 1.0, unsent=True) == 0.0
    with pytest.raises(errors.Unavailable):
        call.delay_s(errors.Unavailable("gone"), 101.0, 1.0)


def test_a_silent_sec_leaves_time_for_another() -> None:
    call = attempts(addresses=2, shares=True)
    assert call.attempt_timeout_s(100.0) == 15.0
    assert call.delay_s(errors.CallTimeout("silent"), 115.0, 1.0) == 0.0
    assert call.attempt_timeout_s(115.0) == 7.5
    assert call.attempt_timeout_s(129.0) == 1.0
    with pytest.raises(errors.CallTimeout):
        call.delay_s(errors.CallTimeout("silent"), 130.0, 1.0)


@pytest.mark.parametrize("changes", [{"addresses": 1}, {"shares": False}, {"repeatable": False}])
def test_else_it_gets_all_the_time_there_is(changes: dict[str, object]) -> None:
    call = attempts(**{"addresses": 2, "shares": True, **changes})
    assert call.attempt_timeout_s(100.0) == 30.0
    with pytest.raises(errors.CallTimeout):
        call.delay_s(errors.CallTimeout("late"), 101.0, 0.0)
