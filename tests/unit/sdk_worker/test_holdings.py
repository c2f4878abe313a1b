"""What the worker holds: slots, one attempt of a node at a time, epochs, cancellation, time limits, pools."""

from __future__ import annotations

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.epochs import Epochs
from tests.unit.sdk_worker.driving import (
    ACTION,
    FAILED,
    UNDO,
    Driver,
    ack,
    cancellation,
    in_flight,
    invocation,
    ref,
)

CANCELLED = pb.REJECTION_REASON_CANCELLED
NO_CAPACITY = pb.REJECTION_REASON_NO_CAPACITY
STALE = pb.REJECTION_REASON_STALE_EPOCH


def connected(slots: int = 2) -> Driver:
    driver = Driver(slots=slots)
    driver.connect()
    return driver


# ---- slots: W13, W15, W16


def test_no_more_run_than_there_are_slots_and_a_small_excess_waits() -> None:
    driver = connected(slots=2)
    driver.invoke(*(invocation(ref(f"s{number}")) for number in range(4)))
    assert driver.started == [ref("s0"), ref("s1")]
    driver.pull_all()
    assert driver.said_rejections() == [(ref("s3"), NO_CAPACITY)]
    driver.finish(ref("s1"))
    assert driver.started == [ref("s0"), ref("s1"), ref("s2")]


def test_a_slot_is_free_when_user_code_ends_before_the_result_is_written() -> None:
    driver = connected(slots=1)
    driver.invoke(invocation(ref("s0")), invocation(ref("s1")))
    driver.finish(ref("s0"))
    assert driver.started == [ref("s0"), ref("s1")]
    assert driver.said_results() == []


def test_pools_have_slots_of_their_own() -> None:
    served = {("charge", "1", int(ACTION)): "", ("render", "1", int(ACTION)): "gpu"}
    driver = Driver(served=served, slots={"": 1, "gpu": 1})
    driver.connect()
    driver.invoke(invocation(ref("s0")), invocation(ref("s1")), invocation(ref("s2"), action="render"))
    assert driver.started == [ref("s0"), ref("s2")]
    driver.finish(ref("s2"))
    assert driver.started == [ref("s0"), ref("s2")]
    driver.finish(ref("s0"))
    assert driver.started == [ref("s0"), ref("s2"), ref("s1")]


# ---- the same attempt again: W20


def test_an_attempt_that_runs_is_attached_to_and_not_run_again() -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    driver.break_stream()
    driver.connect()
    driver.invoke(invocation(ref(), epoch=3))
    assert driver.started == [ref()]
    driver.finish(ref())
    frame = driver.pull()
    assert frame is not None
    assert [result.epoch for result in frame.results] == [3]
    assert driver.said_rejections() == []


def test_an_attempt_that_is_done_is_answered_with_its_result_again() -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.invoke(invocation(ref()), invocation(ref()))
    driver.pull_all()
    assert driver.started == [ref()]
    assert driver.said_results() == [ref(), ref()]


def test_an_attempt_that_is_held_is_never_rejected_even_by_a_lower_epoch() -> None:
    """It has run or will run here, so a rejection would be a lie."""
    driver = connected()
    driver.invoke(invocation(ref(), epoch=5))
    driver.invoke(invocation(ref(), epoch=4))
    driver.finish(ref())
    frame = driver.pull()
    assert frame is not None
    assert [result.epoch for result in frame.results] == [5]
    assert driver.said_rejections() == []


# ---- a node's attempts, one at a time: W22


def test_a_later_attempt_waits_for_the_earlier_one_which_is_asked_to_stop() -> None:
    driver = connected()
    first, second = ref(attempt=1), ref(attempt=2)
    driver.invoke(invocation(first))
    driver.invoke(invocation(second))
    assert driver.started == [first]
    assert driver.stopped() == [(first, "superseded")]
    driver.finish(first, FAILED)
    assert driver.started == [first, second]
    assert driver.said_rejections() == []


def test_when_the_earlier_one_succeeds_the_later_one_is_handed_back_instead_of_run() -> None:
    driver = connected()
    first, second = ref(attempt=1), ref(attempt=2)
    driver.invoke(invocation(first), invocation(second))
    driver.finish(first)
    [frame] = driver.pull_all()
    assert driver.started == [first]
    assert [result.ref.attempt for result in frame.results] == [1]
    assert driver.said_rejections() == [(second, NO_CAPACITY)]


def test_an_undo_waits_for_its_action_and_then_runs_whatever_came_of_it() -> None:
    driver = connected()
    action, undo = ref(), ref(kind=UNDO)
    driver.invoke(invocation(action), invocation(undo))
    assert driver.started == [action]
    assert driver.stopped() == [(action, "superseded")]
    driver.finish(action)
    assert driver.started == [action, undo]


def test_of_those_that_wait_only_the_latest_stays() -> None:
    driver = connected()
    driver.invoke(*(invocation(ref(attempt=number)) for number in (1, 2, 3)))
    driver.pull_all()
    assert driver.said_rejections() == [(ref(attempt=2), NO_CAPACITY)]
    driver.finish(ref(attempt=1), FAILED)
    assert driver.started == [ref(attempt=1), ref(attempt=3)]


def test_the_latest_takes_the_place_of_one_that_waits_even_where_all_is_full() -> None:
    driver = connected(slots=1)
    driver.invoke(*(invocation(ref(attempt=number)) for number in (1, 2, 3)))
    driver.pull_all()
    assert driver.said_rejections() == [(ref(attempt=2), NO_CAPACITY)]


@pytest.mark.parametrize("held", ["runs", "waits"])
def test_an_earlier_attempt_or_an_action_after_its_undo_is_stale(held: str) -> None:
    driver = connected(slots=1)
    if held == "waits":
        driver.invoke(invocation(ref("other")))
    undo = ref(kind=UNDO, attempt=2)
    driver.invoke(invocation(undo))
    late = [ref(attempt=7), ref(kind=UNDO, attempt=1)]
    driver.invoke(*map(invocation, late))
    driver.pull_all()
    assert driver.said_rejections() == [(of, STALE) for of in late]


def test_other_nodes_of_the_saga_do_not_wait() -> None:
    driver = connected()
    driver.invoke(invocation(ref(node="a")), invocation(ref(node="b")))
    assert driver.started == [ref(node="a"), ref(node="b")]


def test_a_waiting_attempt_does_not_hold_up_those_behind_it() -> None:
    driver = connected(slots=2)
    driver.invoke(invocation(ref(attempt=1)), invocation(ref(attempt=2)), invocation(ref("s2")))
    assert driver.started == [ref(attempt=1), ref("s2")]


# ---- epochs: W21, W39


def test_a_lower_epoch_of_the_saga_is_rejected_whatever_the_node() -> None:
    driver = connected()
    driver.invoke(invocation(ref(node="a", kind=UNDO), epoch=5))
    driver.finish(ref(node="a", kind=UNDO))
    driver.invoke(invocation(ref(node="a"), epoch=4), invocation(ref(node="b"), epoch=4))
    driver.invoke(invocation(ref("other"), epoch=1))
    driver.pull_all()
    assert driver.said_rejections() == [(ref(node="a"), STALE), (ref(node="b"), STALE)]
    assert driver.started[-1] == ref("other")


def test_a_move_or_an_adoption_raises_the_epoch() -> None:
    driver = connected()
    driver.send(saga_moves=[pb.SagaMoved(saga_id="s1", epoch=3)])
    driver.send(adoptions=[pb.Adoption(saga_id="s2", epoch=3)])
    driver.invoke(invocation(ref("s1"), epoch=2), invocation(ref("s2"), epoch=2))
    driver.invoke(invocation(ref("s1", attempt=2), epoch=3))
    driver.pull_all()
    assert driver.said_rejections() == [(ref("s1"), STALE), (ref("s2"), STALE)]
    assert driver.started == [ref("s1", attempt=2)]


def test_what_was_rejected_does_not_raise_the_epoch() -> None:
    driver = connected()
    driver.invoke(invocation(ref(), epoch=9, action="unknown"))
    driver.invoke(invocation(ref(node="b"), epoch=8))
    assert driver.started == [ref(node="b")]


def test_epochs_are_bounded_and_forget_what_was_seen_least_recently() -> None:
    epochs = Epochs(sagas_max=2)
    for saga in ("a", "b", "a", "c"):
        epochs.see(saga, 5)
    assert [epochs.is_stale(saga, 4) for saga in ("a", "b", "c")] == [True, False, True]
    epochs.see("a", 3)
    assert epochs.is_stale("a", 4)


# ---- cancellation: W11, W46, W47


def test_a_running_attempt_is_asked_once_to_stop_and_still_answered_with_its_result() -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    for reason in (pb.CANCELLATION_REASON_TIMED_OUT, pb.CANCELLATION_REASON_SAGA_UNWINDING):
        driver.send(cancellations=[cancellation(ref(), reason)])
    assert driver.stopped() == [(ref(), "timed_out")]
    driver.finish(ref())
    driver.pull()
    assert driver.said_results() == [ref()]


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        (pb.CANCELLATION_REASON_UNSPECIFIED, "saga_unwinding"),
        (pb.CANCELLATION_REASON_SAGA_UNWINDING, "saga_unwinding"),
        (pb.CANCELLATION_REASON_TIMED_OUT, "timed_out"),
        (pb.CANCELLATION_REASON_SUPERSEDED, "superseded"),
        (pb.CANCELLATION_REASON_NOT_FOUND, "not_found"),
        (77, "saga_unwinding"),
    ],
)
def test_reasons(wire: pb.CancellationReason.ValueType, reason: str) -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    driver.send(cancellations=[cancellation(ref(), wire)])
    assert driver.stopped() == [(ref(), reason)]


def test_an_invocation_and_its_cancellation_in_one_frame_start_and_then_stop() -> None:
    driver = connected()
    effects = driver.send(
        invocations=[invocation(ref())], cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_SUPERSEDED)]
    )
    assert [type(effect).__name__ for effect in effects] == ["Start", "Stop"]


def test_a_queued_attempt_that_is_cancelled_is_rejected_because_it_never_ran() -> None:
    driver = connected(slots=1)
    driver.invoke(invocation(ref("s0")), invocation(ref("s1")))
    driver.send(cancellations=[cancellation(ref("s1"), pb.CANCELLATION_REASON_SAGA_UNWINDING)])
    driver.pull_all()
    assert driver.said_rejections() == [(ref("s1"), CANCELLED)]
    driver.finish(ref("s0"))
    assert driver.started == [ref("s0")]


def test_a_cancellation_that_crosses_the_result_changes_nothing() -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_TIMED_OUT)])
    [frame] = driver.pull_all()
    assert not frame.HasField("in_flight")
    assert len(frame.results) == 1
    assert driver.stopped() == []


# ---- time limits: W24


def test_start_to_close_counts_from_the_start_and_asks_to_stop() -> None:
    driver = connected(slots=1)
    driver.invoke(invocation(ref("s0")), invocation(ref("s1"), start_to_close=5.0))
    driver.pass_time(10.0)
    assert driver.stopped() == []
    driver.finish(ref("s0"))
    driver.pass_time(4.9)
    assert driver.stopped() == []
    assert driver.holdings.next_deadline() == pytest.approx(driver.now + 0.1)
    driver.pass_time(0.2)
    assert driver.stopped() == [(ref("s1"), "timed_out")]


def test_an_attempt_that_ended_in_time_is_not_stopped() -> None:
    driver = connected()
    driver.invoke(invocation(ref(), start_to_close=5.0))
    driver.finish(ref())
    driver.pass_time(5.0)
    assert driver.stopped() == []


def test_deadlines_of_attempts_that_ended_are_swept_out() -> None:
    driver = connected(slots=1)
    for number in range(200):
        driver.invoke(invocation(ref(f"s{number}"), start_to_close=86_400.0))
        driver.finish(ref(f"s{number}"))
    assert len(driver.holdings._slots._deadlines._heap) < 50


# ---- leaving, and what cannot be: W12, W32, W49


def test_drain_hands_back_what_has_not_started_and_lets_run_what_runs() -> None:
    driver = connected(slots=1)
    driver.invoke(invocation(ref("s0")), invocation(ref("s1")))
    driver.drain()
    driver.pull_all()
    assert driver.said_rejections() == [(ref("s1"), pb.REJECTION_REASON_DRAINING)]
    assert driver.stopped() == []


def test_what_the_executor_could_not_start_is_rejected_and_frees_its_slot() -> None:
    driver = connected(slots=1)
    driver.invoke(invocation(ref("s0")), invocation(ref("s1")))
    driver.holdings.not_started(ref("s0"), driver.now)
    driver._keep(driver.holdings.effects.take())
    driver.pull_all()
    assert driver.said_rejections() == [(ref("s0"), NO_CAPACITY)]
    assert driver.started == [ref("s0"), ref("s1")]


def test_an_outcome_of_what_does_not_run_is_noted_and_not_sent() -> None:
    driver = connected()
    driver.finish(ref())
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.finish(ref())
    driver.pull_all()
    assert driver.said_results() == [ref()]
    assert driver.notes() == ["outcome of an attempt that does not run"] * 2


def test_an_invocation_that_names_nothing_is_ignored() -> None:
    driver = connected()
    driver.invoke(pb.Invocation(action="charge"), invocation(ref(attempt=0)), invocation(ref(saga="")))
    assert driver.pull() is None
    assert driver.started == []
    assert len(driver.notes()) == 3


def test_an_acknowledged_attempt_is_gone() -> None:
    driver = connected()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)
    driver.send(reconcile=pb.Reconcile())
    frame = driver.pull()
    assert frame is not None
    assert in_flight(frame.in_flight) == {}


def test_unconfirmed_rejections_are_bounded() -> None:
    driver = connected()
    driver.holdings.rejections._count_max = 10
    driver.invoke(*(invocation(ref(f"s{number}"), action="unknown") for number in range(25)))
    assert len(driver.holdings.rejections) == 10
    assert limits.UNCONFIRMED_REJECTIONS_MAX > limits.HEARTBEAT_EARLY_REJECTIONS
    driver.pull_all()
    assert len(driver.said_rejections()) == 10
