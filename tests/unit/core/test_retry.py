"""When an attempt is tried again, and when no more (rule 5)."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core import limits
from sagaline_server.core.entries import Kind, Resolution, SagaState
from sagaline_server.core.graph import ACTION_RETRY, UNDO_RETRY, RetryPolicy
from sagaline_server.core.retry import exhausted, rejection_delay, retry_delay
from sagaline_server.core.state import Run
from sagaline_server.core.values import Disposition, Failure
from tests.unit.core.graphs import action, chain, flat
from tests.unit.core.scene import UNDO, Scene, failure

TROUBLE = Failure("test.Trouble")


def run(counted: int = 1, **more: float) -> Run:
    return Run(attempt=counted, counted=counted, first_start=100.0, failure=TROUBLE, **more)  # type: ignore[arg-type]


def test_backoff_doubles_up_to_its_maximum() -> None:
    """The default: 1, 2, 4 ... 60 seconds, without the share that is random."""
    policy = RetryPolicy(jitter=0.0)
    assert [retry_delay(policy, run(n), TROUBLE, 0.5) for n in (1, 2, 3, 6, 7, 1_000)] == [1, 2, 4, 32, 60, 60]


@given(st.floats(0, 1, exclude_max=True), st.floats(0, 1), st.integers(1, 1_000_000))
def test_jitter_only_shortens(draw: float, jitter: float, counted: int) -> None:
    """The delay is drawn from [delay * (1 - jitter), delay], whatever the attempt; it never overflows."""
    policy = RetryPolicy(initial_backoff=3.0, multiplier=limits.MULTIPLIER_MAX, max_backoff=30.0, jitter=jitter)
    full = retry_delay(msgspec.structs.replace(policy, jitter=0.0), run(counted), TROUBLE, 0.0)
    assert full * (1 - jitter) - 1e-9 <= retry_delay(policy, run(counted), TROUBLE, draw) <= 30.0


@pytest.mark.parametrize(("wish", "delay"), [(0.0, 0.0), (7.5, 7.5), (-1.0, 0.0), (1e12, limits.BACKOFF_SECONDS_MAX)])
def test_the_workers_wish_comes_first(wish: float, delay: float) -> None:
    """A worker may name the delay itself, within the limits."""
    failed = Failure("test.Busy", next_retry_delay=wish)
    assert retry_delay(ACTION_RETRY, run(), failed, 0.9) == delay


def test_defaults() -> None:
    """Five attempts of an action, undo actions without bound."""
    assert (ACTION_RETRY.max_attempts, UNDO_RETRY.max_attempts) == (5, 0)
    assert not exhausted(UNDO_RETRY, run(1_000_000), 1e9, 0)
    assert [exhausted(ACTION_RETRY, run(n), 100.0, 0) for n in (4, 5)] == [False, True]


def test_exhausted_by_time() -> None:
    """No new attempt later than `total_timeout` after the first start."""
    policy = RetryPolicy(total_timeout=10.0)
    assert [exhausted(policy, run(), now, 0) for now in (109.9, 110.0)] == [False, True]


def test_exhausted_by_the_type_of_the_failure() -> None:
    """Some failures are not worth another attempt; the node is in doubt all the same."""
    assert exhausted(RetryPolicy(non_retryable=("test.Trouble",)), run(), 100.0, 0)


def test_exhausted_by_the_length_of_the_log() -> None:
    """A log is bounded: at its limit actions are no longer retried, so that the saga can still end."""
    policy = RetryPolicy()
    lengths = (limits.LOG_ENTRIES - 1, limits.LOG_ENTRIES)
    assert [exhausted(policy, run(), 100.0, length) for length in lengths] == [False, True]


def test_what_never_counted_is_not_exhausted() -> None:
    """Rejections and lost owners alone never exhaust a policy."""
    policy = RetryPolicy(max_attempts=1, total_timeout=0.0, non_retryable=("test.Trouble",))
    assert not exhausted(policy, run(0), 1e9, 0)


def test_rejection_delay_is_bounded() -> None:
    """However often it was rejected, it is offered again within five seconds."""
    assert rejection_delay(Run(rejections=100_000)) == 5.0


def test_the_due_time_is_logged() -> None:
    """Rule 5: nothing starts before the time that the entry says, and then at once."""
    scene = Scene(flat(action("a")))
    scene.retry("a", failed=failure(Disposition.RETRY, delay=42.0))
    scene.advance(41.9)
    assert scene.flying() == set()
    scene.advance(0.1)
    assert scene.flying() == {"a"}


def test_total_timeout_counts_from_the_first_start_that_was_not_rejected() -> None:
    """Rule 4: a rejection costs no attempt, so the clock has not started either."""
    scene = Scene(flat(action("a", retry=RetryPolicy(total_timeout=10.0, jitter=0.0))))
    scene.room = False
    scene.reject("a")
    scene.advance(9.5)
    scene.room = True
    scene.place_all()
    scene.retry("a")
    scene.advance(2.0)
    assert scene.flying() == {"a"}


def test_total_timeout_that_passes_while_waiting_for_a_slot() -> None:
    """No attempt starts after the time is over, although a worker has room at last."""
    scene = Scene(flat(action("a", retry=RetryPolicy(total_timeout=10.0, jitter=0.0))))
    scene.retry("a")
    scene.room = False
    scene.wait()
    scene.now += 100.0
    scene.room = True
    scene.place_all()
    assert scene.flying() == {"undo a"}


def test_total_timeout_that_passes_during_the_backoff() -> None:
    """The node is given up when the next attempt would be due."""
    scene = Scene(flat(action("a", retry=RetryPolicy(total_timeout=3.0, initial_backoff=5.0, jitter=0.0))))
    scene.retry("a")
    scene.wait()
    assert scene.flying() == {"undo a"}


def test_a_hopeless_failure_is_given_up_at_once() -> None:
    """A failure type that the policy names ends the retries without waiting."""
    scene = Scene(flat(action("a", retry=RetryPolicy(non_retryable=("test.Hopeless",)))))
    scene.retry("a", failed=failure(Disposition.RETRY, "test.Hopeless"))
    assert scene.flying() == {"undo a"}


def test_an_order_starts_the_policy_anew() -> None:
    """After an operator's order the node has all its attempts and all its time again, and goes at once."""
    scene = Scene(flat(action("a", retry=RetryPolicy(max_attempts=2, total_timeout=50.0, jitter=0.0))))
    scene.hold("a")
    scene.advance(1_000.0)
    scene.order("a", Resolution.RETRY)
    assert scene.flying() == {"a"}
    scene.retry("a")
    scene.wait()
    assert scene.flying() == {"a"}
    assert scene.saga.run(0, Kind.ACTION).attempt == 3


def test_rejections_in_between_keep_the_count() -> None:
    """Rule 4: two attempts allowed means two that were sent, however many were rejected between them."""
    scene = Scene(flat(action("a", retry=RetryPolicy(max_attempts=2))))
    scene.retry("a")
    scene.wait()
    scene.reject("a")
    scene.wait()
    scene.retry("a")
    assert scene.flying() == {"undo a"}


def test_a_lost_undo_is_sent_again_after_a_backoff() -> None:
    """Rule 5: undo attempts have their due times in the log as well."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.lose("a", UNDO)
    due = scene.timers[0]
    scene.crash()
    assert scene.timers[0] == due
    scene.wait()
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND
