"""What frames carry: batches, acknowledgements, results again on a new stream, reports, and their bounds."""

from __future__ import annotations

import pytest

from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref
from sagaline.worker.session import SessionState
from tests.unit.sdk_worker.driving import (
    DONE,
    FAILED,
    Driver,
    ack,
    cancellation,
    ends,
    in_flight,
    invocation,
    ref,
    seconds,
)

NOT_HELD = pb.IN_FLIGHT_STATE_NOT_HELD
PENDING = pb.IN_FLIGHT_STATE_RESULT_PENDING
QUEUED = pb.IN_FLIGHT_STATE_QUEUED
RUNNING = pb.IN_FLIGHT_STATE_RUNNING


def sagas(count: int) -> list[Ref]:
    return [ref(f"s{number}") for number in range(count)]


def results_of(frames: list[pb.ConnectRequest]) -> list[Ref]:
    return [Ref.of(result.ref) for frame in frames for result in frame.results]


# ---- batches and receipts: W8, W10, W26


def test_all_that_has_gathered_leaves_in_one_frame_in_order() -> None:
    driver = Driver(slots=5)
    driver.connect()
    driver.invoke(*map(invocation, sagas(5)))
    for number in (3, 1, 4):
        driver.finish(ref(f"s{number}"))
    frame = driver.pull()
    assert frame is not None
    assert [result.ref.saga_id for result in frame.results] == ["s3", "s1", "s4"]
    assert driver.pull() is None


def test_a_lone_result_leaves_at_once_and_acknowledges_receipt() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    assert driver.session.has_frame()
    frame = driver.pull()
    assert frame is not None
    assert frame.ack_sequence == 2
    assert frame.results[0].output == DONE
    assert frame.results[0].epoch == 1


def test_receipt_alone_makes_no_frame_and_rides_on_the_next_heartbeat() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5))
    driver.invoke(invocation(ref()))
    assert driver.pull() is None
    driver.pass_time(5.0)
    frame = driver.pull()
    assert frame is not None
    assert frame.ack_sequence == 2


def test_the_starts_of_one_frame_are_one_effect() -> None:
    driver = Driver(slots=5)
    driver.connect()
    [start] = driver.invoke(*map(invocation, sagas(5)))
    assert len(start.attempts) == 5  # type: ignore[union-attr]


def test_frames_never_exceed_the_limit_of_the_welcome() -> None:
    driver = Driver(slots=20)
    driver.connect(max_frame_bytes=limits.FRAME_BYTES_MIN, max_payload_bytes=8_000)
    driver.invoke(*map(invocation, sagas(20)))
    for of in sagas(20):
        driver.finish(of, payload_pb2.Payload(json='"' + "x" * 5_000 + '"'))
    frames = driver.pull_all()
    assert len(frames) > 5
    assert max(frame.ByteSize() for frame in frames) <= limits.FRAME_BYTES_MIN
    assert results_of(frames) == sagas(20)


# ---- result acknowledgements: W28


@pytest.mark.parametrize("name", ["RECORDED", "DUPLICATE", "SUPERSEDED", "NOT_FOUND", "INVALID"])
def test_final_statuses_let_the_worker_forget(name: str) -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.send(result_acks=[ack(ref(), pb.ResultStatus.Value(f"RESULT_STATUS_{name}"))])
    assert driver.forgotten() == [ref()]
    driver.break_stream()
    driver.connect()
    assert driver.pull() is None


@pytest.mark.parametrize("status", [0, pb.RESULT_STATUS_RETRY, pb.RESULT_STATUS_NOT_OWNER, 99])
def test_other_statuses_keep_the_result_and_send_it_again(status: pb.ResultStatus.ValueType) -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.send(result_acks=[ack(ref(), status)])
    assert driver.forgotten() == []
    assert driver.pull() is None
    driver.pass_time(limits.RETRY_SECONDS)
    assert driver.pull() is not None
    assert driver.said_results() == [ref(), ref()]


def test_the_retry_delay_is_kept_to() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.send(result_acks=[ack(ref(), pb.RESULT_STATUS_RETRY, 3.0)])
    assert driver.holdings.next_deadline() == driver.now + 3.0
    driver.pass_time(2.9)
    assert driver.said_results() == [ref()]
    driver.pass_time(0.1)
    driver.pull()
    assert driver.said_results() == [ref(), ref()]


def test_an_acknowledgement_of_what_is_not_held_means_nothing() -> None:
    driver = Driver()
    driver.connect()
    driver.send(result_acks=[ack(ref()), ack(ref(), pb.RESULT_STATUS_RETRY)])
    assert driver.forgotten() == []
    assert driver.session.state is SessionState.OPEN


# ---- new streams: W27, W33, W36


def test_results_without_acknowledgement_are_sent_again_on_every_new_stream_oldest_first() -> None:
    driver = Driver(slots=3)
    driver.connect()
    driver.invoke(*map(invocation, sagas(3)))
    for of in sagas(3):
        driver.finish(of)
    driver.pull()
    driver.send(result_acks=[ack(ref("s1"))])
    for _ in range(2):
        driver.break_stream()
        hello = driver.connect()
        assert in_flight(hello.hello.in_flight) == {ref("s0"): PENDING, ref("s2"): PENDING}
        assert results_of(driver.pull_all()) == [ref("s0"), ref("s2")]


def test_a_parked_result_does_not_wait_on_a_new_stream() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref())
    driver.pull()
    driver.send(result_acks=[ack(ref(), pb.RESULT_STATUS_RETRY, 50.0)])
    driver.break_stream()
    driver.connect()
    assert results_of(driver.pull_all()) == [ref()]


def test_hello_says_all_that_is_held() -> None:
    driver = Driver(slots=2)
    driver.connect()
    driver.invoke(*map(invocation, sagas(3)))
    driver.finish(ref("s0"))
    driver.invoke(invocation(ref("s3")), invocation(ref("s4")))
    driver.break_stream()
    frame = driver.open()
    assert frame.hello.in_flight.complete
    assert in_flight(frame.hello.in_flight) == {
        ref("s0"): PENDING,
        ref("s1"): RUNNING,
        ref("s2"): RUNNING,
        ref("s3"): QUEUED,
        ref("s4"): QUEUED,  # rejected, and not yet told
    }


def test_a_rejection_is_told_again_until_a_heartbeat_proves_that_it_was_read() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5))
    driver.invoke(invocation(ref(), action="unknown"))
    driver.pull()
    driver.break_stream()
    hello = driver.connect(heartbeat_interval=seconds(5))
    assert in_flight(hello.hello.in_flight) == {ref(): QUEUED}
    driver.pull()
    assert [of for of, _ in driver.said_rejections()] == [ref(), ref()]
    driver.pass_time(5.0)
    beat = driver.pull()
    assert beat is not None
    driver.send(heartbeat_nonce=beat.heartbeat.nonce)
    driver.break_stream()
    assert in_flight(driver.open().hello.in_flight) == {}


def test_an_echo_of_an_earlier_heartbeat_confirms_nothing() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5))
    driver.pass_time(5.0)
    driver.pull()
    driver.invoke(invocation(ref(), action="unknown"))
    driver.pull()
    driver.send(heartbeat_nonce=1)
    assert len(driver.holdings.rejections) == 1


def test_many_rejections_ask_for_a_heartbeat_at_once() -> None:
    driver = Driver()
    driver.connect()
    count = limits.HEARTBEAT_EARLY_REJECTIONS
    driver.invoke(*(invocation(of, action="unknown") for of in sagas(count)))
    frames = driver.pull_all()
    assert len(driver.said_rejections()) == count
    assert [frame.heartbeat.nonce for frame in frames if frame.HasField("heartbeat")] == [1]
    driver.send(heartbeat_nonce=1)
    assert len(driver.holdings.rejections) == 0


def test_a_redelivered_attempt_that_was_rejected_is_rejected_again() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref(), epoch=5))
    driver.finish(ref())
    stale = ref(attempt=2)
    driver.invoke(invocation(stale, epoch=4))
    driver.pull()
    driver.invoke(invocation(stale, epoch=6))
    driver.pull()
    assert driver.said_rejections() == [(stale, pb.REJECTION_REASON_STALE_EPOCH)] * 2
    assert driver.started == [ref()]


# ---- reports: W35 to W40


def test_reconcile_without_names_is_answered_completely() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref("s1")), invocation(ref("s2")))
    driver.finish(ref("s1"))
    driver.send(reconcile=pb.Reconcile())
    frame = driver.pull()
    assert frame is not None
    assert frame.in_flight.complete
    assert in_flight(frame.in_flight) == {ref("s1"): PENDING, ref("s2"): RUNNING}
    assert frame.ack_sequence == 3, "what was sent up to here has been looked at"


def test_a_complete_report_speaks_of_everything_up_to_its_receipt() -> None:
    """An invocation that came after the question is in it, or the SEC would take it for lost."""
    driver = Driver(slots=3)
    driver.connect()
    driver.invoke(invocation(ref("s1")))
    driver.send(reconcile=pb.Reconcile())
    driver.invoke(invocation(ref("s2")))
    driver.finish(ref("s1"))
    driver.pull()
    driver.send(result_acks=[ack(ref("s1"))])
    frame = driver.frames[-1]
    assert (frame.ack_sequence, frame.in_flight.complete) == (4, True)
    assert in_flight(frame.in_flight) == {ref("s1"): PENDING, ref("s2"): RUNNING}


def test_reconcile_of_names_answers_for_these_alone() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref("s1")), invocation(ref("s2")))
    driver.send(reconcile=pb.Reconcile(refs=[ref("s2").message(), ref("s9").message()]))
    frame = driver.pull()
    assert frame is not None
    assert not frame.in_flight.complete
    assert in_flight(frame.in_flight) == {ref("s2"): RUNNING, ref("s9"): NOT_HELD}


def test_an_adoption_is_answered_and_brings_the_results_of_the_saga_under_its_epoch() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref("s1", "a")), invocation(ref("s1", "b")))
    driver.finish(ref("s1", "a"))
    driver.pull()
    lost = ref("s1", "c")
    names = [of.message() for of in (ref("s1", "a"), ref("s1", "b"), lost)]
    driver.send(adoptions=[pb.Adoption(saga_id="s1", epoch=7, refs=names)])
    driver.finish(ref("s1", "b"))
    [frame] = driver.pull_all()
    assert in_flight(frame.in_flight) == {ref("s1", "a"): PENDING, ref("s1", "b"): PENDING, lost: NOT_HELD}
    assert [(Ref.of(item.ref), item.epoch) for item in frame.results] == [(ref("s1", "a"), 7), (ref("s1", "b"), 7)]


def test_a_report_that_does_not_fit_into_a_frame_comes_in_parts_of_which_the_last_is_complete() -> None:
    count = 600
    driver = Driver(slots=count)
    driver.connect(max_frame_bytes=limits.FRAME_BYTES_MIN)
    long = [ref(f"saga-with-a-rather-long-name-{number:05}") for number in range(count)]
    driver.invoke(*map(invocation, long))
    driver.break_stream()
    frames = [driver.connect(max_frame_bytes=limits.FRAME_BYTES_MIN)]
    driver.finish(long[0])
    driver.invoke(invocation(ref("late")))
    frames += driver.pull_all()
    reports = [frames[0].hello.in_flight, *(frame.in_flight for frame in frames[1:])]
    assert [report.complete for report in reports] == [False] * (len(reports) - 1) + [True]
    assert len(reports) > 1
    told = [of for report in reports for of in in_flight(report)]
    assert len(told) == len(set(told))
    assert set(told) == {*long, ref("late")}
    assert max(frame.ByteSize() for frame in frames) <= limits.FRAME_BYTES_MIN


def test_a_cancellation_of_what_is_not_held_is_answered_with_a_report() -> None:
    driver = Driver()
    driver.connect()
    driver.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_TIMED_OUT)])
    frame = driver.pull()
    assert frame is not None
    assert in_flight(frame.in_flight) == {ref(): NOT_HELD}


# ---- windows and payloads: W13, W18, W26, W31


def test_too_many_bytes_without_acknowledgement_close_the_window_and_acknowledgements_open_it() -> None:
    driver = Driver(slots=4)
    driver.holdings.results._bytes_max = 1_000
    driver.connect()
    driver.invoke(*map(invocation, sagas(4)))
    for of in sagas(4):
        driver.finish(of, payload_pb2.Payload(json='"' + "x" * 400 + '"'))
    frame = driver.pull()
    assert frame is not None
    assert dict(frame.capacity.max_in_flight_by_pool) == {"": 0}
    driver.send(result_acks=[ack(ref("s0"))])
    assert driver.pull() is None, "still above"
    driver.send(result_acks=[ack(ref("s1")), ack(ref("s2"))])
    frame = driver.pull()
    assert frame is not None
    assert dict(frame.capacity.max_in_flight_by_pool) == {"": 4}


def test_the_window_also_closes_at_a_number_of_results() -> None:
    driver = Driver(slots=4)
    driver.holdings.results._count_max = 2
    driver.connect()
    driver.invoke(*map(invocation, sagas(3)))
    for of in sagas(2):
        driver.finish(of)
    assert not driver.holdings.closed
    driver.finish(ref("s2"))
    assert driver.holdings.closed


def test_an_output_over_the_limit_is_held_with_the_numbers() -> None:
    driver = Driver()
    driver.connect(max_payload_bytes=1_000)
    driver.invoke(invocation(ref()))
    driver.finish(ref(), payload_pb2.Payload(json='"' + "x" * 2_000 + '"'))
    frame = driver.pull()
    assert frame is not None
    failure = frame.results[0].failure
    assert failure.type == "sagaline.PayloadTooLarge"
    assert failure.disposition == 3
    assert "2005 bytes" in failure.message
    assert "1000" in failure.message


def test_an_output_kept_under_a_higher_limit_is_told_as_too_large_to_a_sec_with_a_lower_one() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref(), payload_pb2.Payload(json='"' + "x" * 100_000 + '"'))
    driver.break_stream()
    driver.connect(max_frame_bytes=limits.FRAME_BYTES_MIN)
    [frame] = driver.pull_all()
    assert frame.results[0].failure.type == "sagaline.PayloadTooLarge"


def test_a_failure_travels_as_it_is() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.finish(ref(), FAILED)
    frame = driver.pull()
    assert frame is not None
    assert frame.results[0].failure == FAILED


# ---- progress: W45


def test_progress_leaves_at_once_and_then_at_most_every_tenth_of_a_second_the_latest() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    said = []
    for number in range(1, 4):
        driver.holdings.report_progress(ref(), payload_pb2.Payload(json=str(number)), driver.now)
        said += [item.details.json for frame in driver.pull_all() for item in frame.progress]
    assert said == ["1"]
    driver.pass_time(limits.PROGRESS_SECONDS)
    [frame] = driver.pull_all()
    assert [item.details.json for item in frame.progress] == ["3"]


def test_the_last_progress_leaves_no_later_than_the_result() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.holdings.report_progress(ref(), payload_pb2.Payload(json="1"), driver.now)
    driver.pull()
    driver.holdings.report_progress(ref(), payload_pb2.Payload(json="2"), driver.now)
    driver.finish(ref(), FAILED)
    [frame] = driver.pull_all()
    assert [item.details.json for item in frame.progress] == ["2"]
    assert len(frame.results) == 1
    driver.holdings.report_progress(ref(), None, driver.now)
    driver.pass_time(1.0)
    assert driver.pull() is None


def test_progress_is_told_again_on_a_new_stream_and_being_alive_keeps_the_details() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.holdings.report_progress(ref(), payload_pb2.Payload(json="1"), driver.now)
    driver.pull()
    driver.break_stream()
    driver.holdings.report_progress(ref(), None, driver.now)
    driver.connect()
    [frame] = driver.pull_all()
    assert [item.details.json for item in frame.progress] == ["1"]
    assert not ends(driver.effects)
