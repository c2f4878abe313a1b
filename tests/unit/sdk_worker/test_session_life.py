"""Every arrow of a session's life: opening, welcome, watch over a silent stream, reconnecting, leaving."""

from __future__ import annotations

import logging

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.effects import Closed, Note, Welcomed
from sagaline.worker.session import TRANSITIONS, Event, IllegalEventError, SessionState
from tests.unit.sdk_worker.driving import (
    ACTION,
    DONE,
    SEC,
    Driver,
    ack,
    ends,
    in_flight,
    invocation,
    of_type,
    ref,
    seconds,
)

# ---- opening: W2 to W7, W9, W12


def test_the_first_frame_introduces_the_worker() -> None:
    driver = Driver(slots=3)
    frame = driver.open()
    assert frame.HasField("hello")
    assert frame.hello.worker_id == "w1"
    assert frame.hello.stream_epoch == 1
    assert dict(frame.hello.capacity.max_in_flight_by_pool) == {"": 3}
    assert frame.hello.in_flight.complete
    assert not frame.hello.in_flight.entries
    assert driver.pull() is None, "nothing follows before the welcome"


def test_a_welcome_opens_the_session() -> None:
    driver = Driver()
    driver.open()
    effects = driver.welcome(refused_actions={"charge": "not yours"})
    assert driver.session.state is SessionState.OPEN
    assert of_type(effects, Welcomed) == [Welcomed(SEC, "a", {"charge": "not yours"})]


def test_without_a_welcome_in_time_the_stream_is_given_up() -> None:
    driver = Driver()
    driver.open()
    assert driver.session.next_deadline() == driver.now + limits.HANDSHAKE_SECONDS
    assert not ends(driver.pass_time(limits.HANDSHAKE_SECONDS - 0.1))
    assert [end.why for end in ends(driver.pass_time(0.1))] == ["no welcome in time"]
    assert driver.session.state is SessionState.ENDING


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        (pb.ConnectResponse(sequence=1), "the first frame has no welcome"),
        (pb.ConnectResponse(sequence=2, welcome=pb.Welcome(protocol_version=1)), "sequence 2 after 0"),
        (pb.ConnectResponse(sequence=1, welcome=pb.Welcome(protocol_version=2)), "protocol version 2"),
        (pb.ConnectResponse(sequence=1, welcome=pb.Welcome()), "protocol version 0"),
    ],
)
def test_a_wrong_first_frame_ends_the_stream(frame: pb.ConnectResponse, problem: str) -> None:
    driver = Driver()
    driver.open()
    [end] = ends(driver.session.received(frame, driver.now))
    assert problem in end.why
    assert driver.session.state is SessionState.ENDING


def test_a_second_welcome_ends_the_stream() -> None:
    driver = Driver()
    driver.connect()
    [end] = ends(driver.welcome())
    assert "a second welcome" in end.why


def test_a_gap_in_the_sequence_ends_the_stream_and_nothing_of_the_frame_counts() -> None:
    driver = Driver()
    driver.connect()
    driver.sequence += 1
    assert ends(driver.invoke(invocation(ref())))
    assert not driver.started


def test_frames_of_a_stream_that_was_given_up_are_not_looked_at() -> None:
    driver = Driver()
    driver.connect()
    driver.welcome()
    assert driver.invoke(invocation(ref())) == []
    assert not driver.started
    assert driver.pull() is None


def test_unknown_fields_and_unknown_enum_values_are_taken_as_absent() -> None:
    driver = Driver()
    driver.connect()
    unknown_field_99 = bytes([0x9A, 0x06, 0x02, 0x68, 0x69])
    frame = pb.ConnectResponse.FromString(
        pb.ConnectResponse(sequence=2, invocations=[invocation(ref())]).SerializeToString() + unknown_field_99
    )
    driver.sequence = 2
    driver.session.received(frame, driver.now)
    assert driver.session.state is SessionState.OPEN
    driver.send(go_away=pb.GoAway(reason=77), cancellations=[pb.Cancellation(ref=ref().message(), reason=77)])  # type: ignore[arg-type]
    assert driver.session.state is SessionState.OPEN
    assert driver.stopped() == [(ref(), "saga_unwinding")]


# ---- heartbeats and silence: W41, W42


def test_a_heartbeat_is_due_every_interval_and_says_what_is_held() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    driver.invoke(invocation(ref("s1")), invocation(ref("s2")))
    driver.finish(ref("s1"))
    driver.pull()
    assert driver.pull() is None
    driver.pass_time(5.0)
    frame = driver.pull()
    assert frame is not None
    assert frame.heartbeat.nonce == 1
    assert frame.heartbeat.in_flight_count == 2
    assert frame.heartbeat.unacked_result_bytes > 0
    assert frame.ack_sequence == 2
    assert driver.pull() is None


def test_a_stream_without_a_frame_for_the_timeout_is_dead() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    for _ in range(2):
        driver.pass_time(5.0)
        driver.pull()
    assert [end.why for end in ends(driver.pass_time(5.0))] == ["no frame for 15 s"]


def test_frames_without_an_echo_of_our_heartbeats_are_not_enough() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    found = []
    for _ in range(4):
        driver.send(demands=[pb.Demand(ready_count=1)])
        found += ends(driver.pass_time(5.0))
        driver.pull()
    assert [end.why for end in found] == ["no echo of a heartbeat for 15 s"]


def test_echoes_keep_a_stream_alive() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    for nonce in range(1, 20):
        driver.pass_time(5.0)
        driver.pull()
        driver.send(heartbeat_nonce=nonce)
    assert driver.session.state is SessionState.OPEN


def test_a_heartbeat_that_cannot_be_written_means_that_the_stream_is_dead() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    found = []
    for _ in range(4):
        driver.send(demands=[pb.Demand(ready_count=1)])
        found += ends(driver.pass_time(5.0))
    assert [end.why for end in found] == ["nothing could be written for 15 s"]


def test_time_in_which_the_shell_stood_still_does_not_count_against_the_sec() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    assert not ends(driver.pass_time(65.0, lag=60.0))
    frame = driver.pull()
    assert frame is not None
    assert frame.heartbeat.max_loop_lag.seconds == 60
    assert ends(driver.pass_time(15.0))


def test_nonces_grow_over_streams() -> None:
    driver = Driver()
    driver.connect()
    driver.pass_time(5.0)
    first = driver.pull()
    driver.break_stream()
    driver.connect()
    driver.pass_time(5.0)
    second = driver.pull()
    assert first is not None
    assert second is not None
    assert (first.heartbeat.nonce, second.heartbeat.nonce) == (1, 2)


def test_times_of_a_welcome_that_make_no_sense_are_bounded() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(4), heartbeat_timeout=seconds(1))
    assert not ends(driver.pass_time(5.0)), "two intervals at least"
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(-3))
    assert driver.session.next_deadline() == driver.now + 5.0


# ---- reconnecting: W54 to W57


def test_after_a_stream_that_worked_the_next_is_tried_at_once() -> None:
    driver = Driver()
    driver.connect()
    driver.pass_time(limits.STEADY_SECONDS)
    driver.break_stream(draw=1.0)
    [reconnect] = driver.reconnects()
    assert (reconnect.at, reconnect.failures, reconnect.fresh_channel) == (driver.now, 0, False)
    assert driver.open().hello.stream_epoch == 2


def test_failures_in_a_row_wait_longer_up_to_ten_seconds_and_never_give_up() -> None:
    driver = Driver()
    for _ in range(50):
        driver.open()
        driver.break_stream(draw=1.0)
    delays = [reconnect.at - driver.now for reconnect in driver.reconnects()]
    assert delays[:8] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0])
    assert delays[-1] == pytest.approx(10.0)


def test_the_delay_is_jittered_down_to_nothing() -> None:
    driver = Driver()
    for _ in range(9):
        driver.open()
        driver.break_stream(draw=0.0)
    assert {reconnect.at for reconnect in driver.reconnects()} == {driver.now}


def test_every_third_failure_in_a_row_asks_for_a_new_channel() -> None:
    driver = Driver()
    for _ in range(7):
        driver.open()
        driver.break_stream()
    fresh = [reconnect.fresh_channel for reconnect in driver.reconnects()]
    assert fresh == [False, False, True, False, False, True, False]


def test_a_stream_that_is_welcomed_and_breaks_at_once_is_a_failure() -> None:
    driver = Driver()
    for _ in range(3):
        driver.connect()
        driver.break_stream(draw=1.0)
    assert [reconnect.failures for reconnect in driver.reconnects()] == [1, 2, 3]


def test_a_stream_on_which_somebody_broke_the_rules_is_a_failure_however_long_it_worked() -> None:
    driver = Driver()
    driver.connect()
    driver.pass_time(3.0)
    driver.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_PROTOCOL_ERROR, message="you did"))
    driver.break_stream()
    assert driver.reconnects()[-1].failures == 1
    assert logging.ERROR in [note.level for note in of_type(driver.effects, Note)]


@pytest.mark.parametrize("reason", [pb.GO_AWAY_REASON_SHUTDOWN, pb.GO_AWAY_REASON_REBALANCE])
def test_a_sec_that_goes_away_still_takes_results_and_is_dialled_again(reason: pb.GoAwayReason.ValueType) -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.send(go_away=pb.GoAway(reason=reason, timeout=seconds(10)))
    driver.finish(ref())
    assert driver.pull() is not None
    assert driver.said_results() == [ref()]
    driver.break_stream()
    assert len(driver.reconnects()) == 1


def test_replaced_by_a_stream_that_is_not_ours_closes_the_session_for_good() -> None:
    driver = Driver()
    driver.connect()
    assert ends(driver.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED)))
    driver.break_stream()
    assert driver.session.state is SessionState.CLOSED
    [closed] = of_type(driver.effects, Closed)
    assert closed.error is not None
    assert "another process" in closed.error
    assert not driver.reconnects()


# ---- leaving: W49 to W53


def test_drain_says_so_grants_nothing_and_waits_for_drained_and_the_last_acknowledgement() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.drain(30.0)
    frame = driver.pull()
    assert frame is not None
    assert frame.drain.timeout.seconds == 30
    assert dict(frame.capacity.max_in_flight_by_pool) == {"": 0}
    driver.send(drained=True)
    driver.finish(ref())
    driver.pull()
    assert not ends(driver.effects)
    [end] = ends(driver.send(result_acks=[ack(ref())]))
    assert end.half_close
    assert driver.state() is SessionState.CLOSING
    driver.break_stream()
    assert driver.state() is SessionState.CLOSED
    assert of_type(driver.effects, Closed) == [Closed(SEC)]
    assert not driver.reconnects()


def test_everything_acknowledged_is_not_enough_before_drained() -> None:
    """Until then an invocation may still be on its way, and would count as lost."""
    driver = Driver()
    driver.connect()
    driver.drain()
    driver.pull_all()
    driver.invoke(invocation(ref()))
    driver.pull_all()
    assert driver.said_rejections() == [(ref(), pb.REJECTION_REASON_DRAINING)]
    assert not ends(driver.effects)
    assert ends(driver.send(drained=True))


def test_heartbeats_go_on_while_draining() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(5), heartbeat_timeout=seconds(15))
    driver.invoke(invocation(ref()))
    driver.drain(600.0)
    driver.pull_all()
    for nonce in range(1, 10):
        driver.pass_time(5.0)
        frame = driver.pull()
        assert frame is not None
        assert frame.heartbeat.nonce == nonce
        driver.send(heartbeat_nonce=nonce)
    assert driver.session.state is SessionState.OPEN


def test_a_stream_that_breaks_while_draining_is_opened_again_for_what_is_owed() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.drain()
    driver.pull_all()
    driver.finish(ref())
    driver.break_stream()
    assert len(driver.reconnects()) == 1
    hello = driver.open()
    assert in_flight(hello.hello.in_flight) == {ref(): pb.IN_FLIGHT_STATE_RESULT_PENDING}
    assert dict(hello.hello.capacity.max_in_flight_by_pool) == {"": 0}
    driver.welcome()
    frame = driver.pull()
    assert frame is not None
    assert frame.HasField("drain"), "said on every stream"
    assert len(frame.results) == 1


def test_a_worker_that_owes_nothing_leaves_without_a_stream() -> None:
    driver = Driver()
    assert of_type(driver.drain(), Closed)
    assert driver.session.state is SessionState.CLOSED


def test_a_stream_that_breaks_while_draining_with_nothing_owed_is_not_opened_again() -> None:
    driver = Driver()
    driver.connect()
    driver.drain()
    driver.break_stream()
    assert driver.session.state is SessionState.CLOSED
    assert not driver.reconnects()


def test_after_the_drain_time_what_runs_is_cancelled_and_after_the_grace_it_is_left_behind() -> None:
    driver = Driver()
    driver.connect(heartbeat_interval=seconds(60), heartbeat_timeout=seconds(300))
    driver.invoke(invocation(ref("s1")), invocation(ref("s2")))
    driver.drain(10.0)
    driver.pull_all()
    driver.pass_time(10.0)
    assert driver.stopped() == [(ref("s1"), "worker_stopping"), (ref("s2"), "worker_stopping")]
    driver.finish(ref("s1"), DONE)
    assert not ends(driver.effects)
    [end] = ends(driver.pass_time(limits.CANCEL_GRACE_SECONDS))
    assert end.half_close
    frame = driver.pull()
    assert frame is not None
    assert len(frame.results) == 1, "what is known is still said"
    assert not driver.session.has_frame()


def test_without_the_end_of_the_sec_the_stream_is_cut_after_the_half_close() -> None:
    driver = Driver()
    driver.connect()
    driver.drain()
    driver.pull_all()
    driver.send(drained=True)
    [end] = ends(driver.pass_time(limits.HALF_CLOSE_SECONDS))
    assert not end.half_close
    driver.break_stream()
    assert driver.session.state is SessionState.CLOSED


def test_a_handshake_under_way_ends_with_the_drain_time() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.break_stream()
    driver.open()
    driver.drain(0.0)
    driver.pass_time(0.0)
    assert ends(driver.pass_time(limits.CANCEL_GRACE_SECONDS))
    driver.break_stream()
    assert driver.session.state is SessionState.CLOSED


def test_a_second_drain_can_only_shorten_the_time() -> None:
    driver = Driver()
    driver.connect()
    driver.invoke(invocation(ref()))
    driver.drain(30.0)
    driver.drain(60.0)
    assert driver.holdings.drain_left(driver.now) == 30.0
    driver.drain(0.0)
    driver.pass_time(0.0)
    assert driver.stopped() == [(ref(), "worker_stopping")]


# ---- the table


def test_events_that_are_not_in_the_table_raise_and_change_nothing() -> None:
    driver = Driver()
    with pytest.raises(IllegalEventError):
        driver.session.ended(driver.now, "", 0.5)
    with pytest.raises(IllegalEventError):
        driver.session.received(pb.ConnectResponse(sequence=1), driver.now)
    assert driver.state() is SessionState.IDLE
    driver.open()
    with pytest.raises(IllegalEventError):
        driver.session.opened(driver.now)
    assert driver.state() is SessionState.GREETING


def test_every_state_can_reach_the_end_and_none_leaves_it() -> None:
    reached = {SessionState.CLOSED}
    for _ in SessionState:
        reached |= {state for (state, _), target in TRANSITIONS.items() if target in reached}
    assert reached == set(SessionState)
    assert not [key for key in TRANSITIONS if key[0] is SessionState.CLOSED]
    assert {event for _, event in TRANSITIONS} == set(Event)


def test_an_action_is_not_an_undo_action() -> None:
    driver = Driver(served={("charge", "1", ACTION): ""})
    driver.connect()
    driver.invoke(invocation(ref(kind=2)), invocation(ref(), version="2"), invocation(ref(), action="refund"))
    driver.pull_all()
    assert [reason for _, reason in driver.said_rejections()] == [pb.REJECTION_REASON_UNKNOWN_ACTION] * 3
