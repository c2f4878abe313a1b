"""Sagas that move from SEC to SEC: attempts and answers follow them, in whatever order word of it comes: W69 to W75."""

from __future__ import annotations

import pytest

from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref
from tests.unit.sdk_worker.driving import RECORDED, ack, cancellation, in_flight, invocation, ref
from tests.unit.sdk_worker.fleet_driving import FleetDriver, Peer, sec_named, sec_set

NOT_HELD = pb.IN_FLIGHT_STATE_NOT_HELD
NOT_OWNER = pb.RESULT_STATUS_NOT_OWNER
PENDING = pb.IN_FLIGHT_STATE_RESULT_PENDING
QUEUED = pb.IN_FLIGHT_STATE_QUEUED
RUNNING = pb.IN_FLIGHT_STATE_RUNNING
STALE = pb.REJECTION_REASON_STALE_EPOCH


def connected(*secs: str, slots: int = 6) -> tuple[FleetDriver, list[Peer]]:
    """A worker that has a stream to each, and has had it for long enough."""
    driver = FleetDriver(f"{secs[0]}:7070", slots=slots)
    peers = driver.connect_all(*secs)
    driver.pass_time(2.0)
    return driver, peers


def moved(saga: str = "s1", owner: pb.Sec | None = None, epoch: int = 2) -> pb.SagaMoved:
    return pb.SagaMoved(saga_id=saga, owner=owner, epoch=epoch)


def adoption(*refs: object, saga: str = "s1", epoch: int = 2) -> pb.Adoption:
    return pb.Adoption(saga_id=saga, epoch=epoch, refs=[of.message() for of in refs])  # type: ignore[attr-defined]


def not_owner(owner: pb.Sec | None = None) -> pb.ResultAck:
    return pb.ResultAck(ref=ref().message(), status=NOT_OWNER, owner=owner)


def reconciled(peer: Peer) -> dict[Ref, int]:
    """What the worker holds of this SEC, as it says itself."""
    peer.send(reconcile=pb.Reconcile())
    return in_flight(peer.frames[-1].in_flight)


# ---- moved and adopted, in either order, or one of them alone


@pytest.mark.parametrize("order", ["moved", "adopted", "moved, adopted", "adopted, moved"])
def test_what_runs_is_answered_to_the_new_owner(order: str) -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    for event in order.split(", "):
        if event == "moved":
            a.send(saga_moves=[moved(owner=sec_named("b"))])
        else:
            b.send(adoptions=[adoption(ref())])
            assert b.reported() == {ref(): RUNNING}
    assert (reconciled(a), reconciled(b)) == ({}, {ref(): RUNNING})
    driver.finish(ref())
    assert (a.results(), b.results()) == ([], [ref()])


@pytest.mark.parametrize("order", ["moved", "adopted", "moved, adopted", "adopted, moved"])
def test_a_result_that_nobody_acknowledged_goes_to_the_new_owner(order: str) -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    assert a.results() == [ref()]
    for event in order.split(", "):
        if event == "moved":
            a.send(saga_moves=[moved(owner=sec_named("b"))])
        else:
            b.send(adoptions=[adoption(ref(), ref(node="x"))])
            assert b.reported() == {ref(): PENDING, ref(node="x"): NOT_HELD}
    assert set(b.results()) == {ref()}
    assert (reconciled(a), reconciled(b)) == ({}, {ref(): PENDING})
    b.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)


def test_a_result_is_told_under_the_epoch_of_its_adoption_in_the_frame_of_the_report() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    b.send(adoptions=[adoption(ref(), epoch=7)])
    frame = b.frames[-1]
    assert in_flight(frame.in_flight) == {ref(): PENDING}
    assert [result.epoch for result in frame.results] == [7]


def test_an_acknowledgement_of_the_old_owner_that_crosses_the_move_still_ends_it() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    a.send(result_acks=[ack(ref(), RECORDED)], saga_moves=[moved(owner=sec_named("b"))])
    assert b.results() == []
    b.send(adoptions=[adoption(ref())])
    assert b.reported() == {ref(): NOT_HELD}


def test_other_sagas_stay_where_they_are() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref("s1")), invocation(ref("s2")))
    b.send(adoptions=[adoption(ref("s1"))])
    driver.finish(ref("s1"))
    driver.finish(ref("s2"))
    assert (a.results(), b.results()) == ([ref("s2")], [ref("s1")])


def test_many_moves_in_one_frame() -> None:
    driver, (a, b, c) = connected("a", "b", "c", slots=60)
    refs = [ref(f"s{number}") for number in range(10)]
    a.invoke(*map(invocation, refs))
    a.send(saga_moves=[moved(of.saga_id, sec_named("b" if number % 2 else "c")) for number, of in enumerate(refs)])
    for of in refs:
        driver.finish(of)
    assert (a.results(), b.results(), c.results()) == ([], refs[1::2], refs[::2])


def test_progress_and_what_it_was_before_are_told_to_the_new_owner() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.holdings.report_progress(ref(), payload_pb2.Payload(json="1"), driver.now)
    driver.keep(driver.fleet.changed(driver.now))
    a.send(saga_moves=[moved(owner=sec_named("b"))])
    assert [item.details.json for frame in b.frames for item in frame.progress] == ["1"]
    driver.pass_time(1.0)
    driver.holdings.report_progress(ref(), payload_pb2.Payload(json="2"), driver.now)
    driver.keep(driver.fleet.changed(driver.now))
    assert [item.details.json for peer in (a, b) for frame in peer.frames for item in frame.progress] == ["1", "1", "2"]


def test_a_rejection_that_the_old_owner_may_not_have_read_is_told_to_the_new_one() -> None:
    driver, (a, b) = connected("a", "b", slots=2)
    a.invoke(invocation(ref(), action="unknown"))
    b.send(adoptions=[adoption(ref())])
    assert b.reported() == {ref(): QUEUED}
    assert [of for of, _ in b.rejections()] == [ref()]
    driver.pass_time(6.0)
    assert len(driver.holdings.rejections) == 0, "its heartbeat was echoed"


def test_a_rejection_of_a_sec_that_is_gone_is_told_to_the_next_and_then_forgotten() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    a.invoke(invocation(ref(), action="unknown"))
    driver.pass_time(2.0)
    driver.break_stream(a)
    driver.fail("a:7070")
    b = driver.connect("b:7070", "b")
    driver.pass_time(6.0)
    assert b.rejections() == [], "the other one may come back"
    driver.fail("a:7070")
    b.send(secs=sec_set("b", revision=2))
    assert len(driver.holdings.rejections) == 1
    driver.break_stream(b)
    b = driver.connect("b:7070", "b")
    assert [of for of, _ in b.rejections()] == [ref()]
    driver.pass_time(6.0)
    assert len(driver.holdings.rejections) == 0


# ---- epochs


def test_old_news_changes_nothing() -> None:
    driver, (a, b, c) = connected("a", "b", "c")
    a.invoke(invocation(ref()))
    c.send(adoptions=[adoption(ref(), epoch=3)])
    a.send(saga_moves=[moved(owner=sec_named("b"), epoch=2)])
    b.send(adoptions=[adoption(ref(), epoch=2)])
    assert b.reported() == {ref(): RUNNING}, "a question is answered whoever asks"
    driver.finish(ref())
    assert (a.results(), b.results(), c.results()) == ([], [], [ref()])


def test_the_new_owner_sends_the_attempt_again_and_meets_it_running() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    b.invoke(invocation(ref(), epoch=2))
    assert driver.started == [ref()]
    driver.finish(ref())
    assert (a.results(), b.results()) == ([], [ref()])
    assert b.frames[-1].results[0].epoch == 2


def test_the_new_owner_sends_the_attempt_again_and_gets_the_result_that_waits() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    b.invoke(invocation(ref(), epoch=2))
    assert driver.started == [ref()]
    assert b.results() == [ref()]
    b.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)


@pytest.mark.parametrize("state", ["running", "pending"])
def test_a_sec_that_lost_the_saga_and_sends_the_attempt_again_gets_nothing(state: str) -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    if state == "pending":
        driver.finish(ref())
    b.send(adoptions=[adoption(ref())])
    a.invoke(invocation(ref(), epoch=1))
    if state == "running":
        driver.finish(ref())
    assert a.rejections() == [], "it has run, so that would be a lie"
    assert reconciled(a) == {}
    assert set(b.results()) == {ref()}


def test_a_lower_epoch_starts_nothing_after_a_move() -> None:
    driver, (a, b) = connected("a", "b")
    a.send(saga_moves=[moved(epoch=5)])
    b.invoke(invocation(ref(), epoch=4))
    assert driver.started == []
    assert b.rejections() == [(ref(), STALE)]
    b.invoke(invocation(ref(), epoch=5))
    assert [of for of, _ in b.rejections()] == [ref(), ref()], "rejected is rejected"
    b.invoke(invocation(ref(attempt=2), epoch=5))
    assert driver.started == [ref(attempt=2)]


def test_the_new_owners_undo_waits_for_the_action_that_the_old_owner_sent() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    undo = ref(kind=2)
    b.invoke(invocation(undo, epoch=2))
    assert driver.started == [ref()]
    driver.finish(ref())
    assert driver.started == [ref(), undo]


# ---- an owner that is not known, or not there


def test_a_saga_that_left_for_nobody_known_waits_for_an_adoption() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    a.send(saga_moves=[moved()])
    driver.pass_time(limits.ASTRAY_SECONDS / 2)
    assert (reconciled(a), reconciled(b)) == ({ref(): PENDING}, {})
    b.send(adoptions=[adoption(ref())])
    assert b.results() == [ref()]


def test_without_an_adoption_its_result_asks_its_way() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    a.send(saga_moves=[moved()])
    driver.finish(ref())
    assert a.results() + b.results() == []
    driver.pass_time(limits.ASTRAY_SECONDS)
    [asked] = [peer for peer in (a, b) if peer.results()]
    asked.send(result_acks=[not_owner(sec_named("b"))])
    driver.pass_time(limits.SEARCH_SECONDS_MIN)
    assert ref() in b.results()


def test_a_result_of_a_sec_that_died_waits_a_little_and_then_asks_the_others() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.break_stream(a)
    driver.finish(ref())
    driver.pass_time(limits.ASTRAY_SECONDS - 0.1)
    assert b.results() == []
    driver.pass_time(0.1)
    assert b.results() == [ref()]
    b.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)


def test_a_sec_that_comes_back_in_time_gets_its_results_itself() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    driver.break_stream(a)
    a = driver.connect("a:7070", "a")
    driver.pass_time(limits.ASTRAY_SECONDS * 2)
    assert (a.results(), b.results()) == ([ref()], [])


def test_a_sec_that_comes_back_late_gets_them_from_whoever_was_asked() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    driver.break_stream(a)
    driver.pass_time(limits.ASTRAY_SECONDS)
    assert b.results() == [ref()]
    a = driver.connect("a:7070", "a")
    assert a.results() == [ref()]
    b.send(result_acks=[not_owner(sec_named("a"))])
    assert driver.holdings.counts()[0] == 1, "an answer to what has been sent elsewhere since means nothing"
    a.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)


def test_who_is_not_the_owner_names_it_and_it_gets_the_result_at_once() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    a.send(result_acks=[not_owner(sec_named("b"))])
    assert b.results() == [ref()]


def test_two_that_point_at_each_other_are_asked_ever_more_rarely() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    seen = [0, 0]
    for _ in range(600):
        for number, (peer, other) in enumerate([(a, "b"), (b, "a")]):
            if len(peer.results()) > seen[number]:
                seen[number] = len(peer.results())
                peer.send(result_acks=[not_owner(sec_named(other))])
        driver.pass_time(0.1)
    assert 8 < sum(seen) < 20, "in a minute"
    b.send(adoptions=[adoption(ref())])
    assert len(b.results()) == seen[1] + 1, "an adoption ends the search"


def test_with_one_sec_within_reach_the_search_goes_on_there_until_the_saga_is_over() -> None:
    """No relay: the SEC that answers says that it is not the owner, again and again, and at last that all is over."""
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    driver.pass_time(2.0)
    a.invoke(invocation(ref()))
    a.send(saga_moves=[moved(owner=sec_named("b"))])
    driver.finish(ref())
    seen = 0
    for _ in range(1200):
        driver.pass_time(0.1)
        for address in list(driver.ordered):
            driver.fail(address)
        if len(a.results()) > seen:
            seen = len(a.results())
            a.send(result_acks=[not_owner(sec_named("b"))])
    assert 12 < seen < 25, "in two minutes"
    assert driver.calls() == [], "b is being dialled, so a call would reach it no better"
    driver.pass_time(limits.SEARCH_SECONDS_MAX)
    a.send(result_acks=[ack(ref(), pb.RESULT_STATUS_SUPERSEDED)])
    assert driver.holdings.counts() == (0, 0)


def test_when_no_stream_is_open_results_wait_for_one() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    driver.finish(ref())
    driver.break_stream(a)
    driver.break_stream(b)
    driver.pass_time(60.0)
    b = driver.connect("b:7070", "b")
    driver.pass_time(limits.ASTRAY_SECONDS)
    assert b.results() == [ref()]


# ---- calls, to owners without a stream


def called(driver: FleetDriver, owner: str = "z:9") -> list[object]:
    return [result.ref.saga_id for call in driver.calls() if call.address == owner for result in call.request.results]


def test_an_owner_to_which_no_stream_is_held_is_called() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "z", assigned=["a"]))
    a.invoke(invocation(ref()))
    driver.finish(ref())
    a.send(result_acks=[not_owner(sec_named("z"))])
    [call] = driver.calls()
    assert (call.address, call.request.worker_id) == ("z:7070", "w1")
    driver.called(call, ack(ref()))
    assert driver.holdings.counts() == (0, 0)
    assert driver.calls() == [call]


def test_what_gathers_while_a_call_is_under_way_goes_with_the_next() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a"))
    refs = [ref(f"s{number}") for number in range(4)]
    a.invoke(*map(invocation, refs))
    for of in refs:
        driver.finish(of)
        a.send(result_acks=[pb.ResultAck(ref=of.message(), status=NOT_OWNER, owner=sec_named("z", "z:9"))])
    [call] = driver.calls()
    assert called(driver) == ["s0"]
    driver.called(call, ack(refs[0]))
    assert called(driver) == ["s0", "s1", "s2", "s3"]
    driver.called(driver.calls()[1], ack(refs[1]), ack(refs[2]))
    driver.pass_time(limits.RETRY_SECONDS)
    assert called(driver)[4:] == ["s3"], "of what was not answered nothing is known"


def test_where_a_call_fails_others_are_asked_and_it_is_tried_again_later() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a"))
    a.invoke(invocation(ref()))
    driver.finish(ref())
    for _ in range(100):
        if len(a.results()) > len(list(driver.calls())):
            a.send(result_acks=[not_owner(sec_named("z", "z:9"))])
        if driver.calls() and driver.holdings.results.routes._calls["z:9"].under_way:
            driver.called(driver.calls()[-1], fails=True)
        driver.pass_time(0.5)
    assert 4 < len(called(driver)) < 15, "in 50 s"
    assert driver.holdings.counts()[0] == 1


def test_calls_are_few_at_the_same_time() -> None:
    driver = FleetDriver("a:7070", slots=20)
    a = driver.connect("a:7070", "a", sec_set("a"))
    refs = [ref(f"s{number}") for number in range(limits.CALLS_MAX + 2)]
    a.invoke(*map(invocation, refs))
    for number, of in enumerate(refs):
        driver.finish(of)
        owner = sec_named(f"z{number}", f"z:{number}")
        a.send(result_acks=[pb.ResultAck(ref=of.message(), status=NOT_OWNER, owner=owner)])
    assert len(driver.calls()) == limits.CALLS_MAX
    driver.called(driver.calls()[0], ack(refs[0]))
    assert len(driver.calls()) == limits.CALLS_MAX + 1


def test_an_adoption_overtakes_a_call() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a"))
    a.invoke(invocation(ref()))
    driver.finish(ref())
    a.send(result_acks=[not_owner(sec_named("z", "z:9"))])
    [call] = driver.calls()
    a.send(adoptions=[adoption(ref(), epoch=3)])
    assert a.results() == [ref(), ref()]
    driver.called(call, fails=True)
    assert a.results() == [ref(), ref()]
    a.send(result_acks=[ack(ref())])
    assert driver.holdings.counts() == (0, 0)


# ---- the rest


def test_a_cancellation_is_heeded_whoever_sends_it() -> None:
    driver, (a, b) = connected("a", "b")
    a.invoke(invocation(ref()))
    b.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_NOT_FOUND)])
    assert driver.stopped() == [(ref(), "not_found")]


def test_results_fit_into_the_frames_of_whichever_sec_takes_them() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    b = driver.dial("b:7070")
    b.welcome("b", max_payload_bytes=1_000)
    a.invoke(invocation(ref()))
    driver.finish(ref(), payload_pb2.Payload(json='"' + "x" * 2_000 + '"'))
    assert a.frames[-1].results[0].failure.type == "sagaline.PayloadTooLarge"


def test_addresses_are_remembered_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "ADDRESSES_MAX", 3)
    driver, (a, _) = connected("a", "b")
    a.send(saga_moves=[moved(f"s{number}", sec_named(f"x{number}")) for number in range(9)])
    assert len(driver.holdings.results.routes._addresses) == 3
