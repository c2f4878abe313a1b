"""Which addresses are dialled, and when; membership; several streams and how the worker leaves them: W62 to W68."""

from __future__ import annotations

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.effects import Closed, Connect
from sagaline.worker.session import SessionState
from tests.unit.sdk_worker.driving import ack, in_flight, invocation, of_type, ref, seconds
from tests.unit.sdk_worker.fleet_driving import FleetDriver, address_of, sec_set

RUNNING = pb.IN_FLIGHT_STATE_RUNNING
PENDING = pb.IN_FLIGHT_STATE_RESULT_PENDING
OPEN = SessionState.OPEN


# ---- the first SEC


def test_it_begins_with_one_bootstrap_address_and_goes_on_to_the_next_when_that_fails() -> None:
    driver = FleetDriver("x:1", "y:1", "z:1")
    assert driver.ordered == ["x:1"]
    driver.fail("x:1")
    assert driver.ordered == ["y:1"]
    driver.fail("y:1")
    driver.connect("z:1", "z")
    driver.pass_time(60.0)
    assert driver.ordered == [], "one SEC that says nothing of others is enough"


def test_when_all_bootstrap_addresses_fail_they_are_tried_again_one_at_a_time_for_ever() -> None:
    driver = FleetDriver("x:1", "y:1")
    tried = []
    for _ in range(40):
        driver.pass_time(0.0 if driver.ordered else limits.RECONNECT_SECONDS_MAX)
        [address] = driver.ordered
        tried.append(address)
        driver.fail(address)
    assert tried.count("x:1") > 10
    assert tried.count("y:1") > 10


def test_two_names_for_one_address_are_one() -> None:
    driver = FleetDriver("x:1", "x:1")
    driver.fail("x:1")
    assert driver.ordered == []


def test_it_says_that_it_can_have_several_secs() -> None:
    driver = FleetDriver("x:1")
    hello = driver.dial("x:1").hello
    assert list(hello.capabilities) == [pb.WORKER_CAPABILITY_SEVERAL_SECS]


# ---- membership


def test_each_sec_of_the_first_welcome_is_dialled_at_once() -> None:
    driver = FleetDriver("a:7070")
    driver.connect("a:7070", "a", sec_set("a", "b", "c"))
    assert driver.ordered == ["b:7070", "c:7070"]


def test_the_sec_that_answered_at_a_bootstrap_address_is_not_dialled_again_at_its_own() -> None:
    driver = FleetDriver("lb:80")
    driver.connect("lb:80", "a", sec_set("a", "b"))
    assert driver.ordered == ["b:7070"]


def test_a_new_sec_is_dialled_at_once_and_older_sets_are_passed_over() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    a.send(secs=sec_set("a", "b", "c", revision=5))
    assert driver.ordered == ["c:7070"]
    b.send(secs=sec_set("a", "b", "d", revision=5))
    b.send(secs=sec_set("a", "d", revision=4))
    assert driver.ordered == ["c:7070"]
    assert driver.notes().count("membership") == 2


def test_a_set_without_secs_says_nothing() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    a.send(secs=pb.SecSet(revision=9))
    driver.break_stream(b)
    driver.pass_time(1.0)
    assert driver.ordered == ["b:7070"]


def test_a_sec_that_left_keeps_its_stream_and_is_not_dialled_again_when_that_ends() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    a.send(secs=sec_set("a", revision=2))
    assert driver.states() == {"a:7070": OPEN, "b:7070": OPEN}
    driver.break_stream(b)
    driver.pass_time(60.0)
    assert driver.ordered == []
    assert driver.states() == {"a:7070": OPEN}
    assert of_type(driver.effects, Closed) == [Closed("b:7070")]


def test_a_sec_whose_stream_breaks_is_dialled_again_with_backoff() -> None:
    driver = FleetDriver("a:7070")
    _, b = driver.connect_all("a", "b")
    driver.pass_time(2.0)
    driver.break_stream(b)
    assert driver.ordered == ["b:7070"], "a stream that worked: at once"
    for _ in range(12):
        driver.fail("b:7070", draw=1.0)
        assert driver.ordered == []
        driver.pass_time(limits.RECONNECT_SECONDS_MAX)
        assert driver.ordered == ["b:7070"]


def test_channels_are_made_anew_after_failures_in_a_row() -> None:
    driver = FleetDriver("x:1")
    for _ in range(7):
        driver.fail("x:1")
        driver.pass_time(10.0)
    fresh = [effect.fresh_channel for effect in of_type(driver.effects, Connect)]
    assert fresh == [False, False, False, True, False, False, True, False]


def test_only_assigned_secs_are_dialled_and_all_if_none_of_them_lives() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b", "c", assigned=["b", "z"]))
    assert driver.ordered == ["b:7070"]
    a.send(secs=sec_set("a", "b", "c", revision=2, assigned=["z"]))
    assert driver.ordered == ["b:7070", "c:7070"]


def test_a_sec_at_another_address_than_before_is_dialled_there_once_its_old_stream_has_ended() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    moved = pb.SecSet(revision=2, secs=[pb.Sec(sec_id="a", address="a:7070"), pb.Sec(sec_id="b", address="new:1")])
    a.send(secs=moved)
    assert driver.ordered == []
    driver.break_stream(b)
    assert driver.ordered == ["new:1"]


# ---- falling back


def test_a_load_balancer_is_dialled_alone_for_nobody_knows_who_will_answer() -> None:
    """Else its hello could reach a SEC that has another stream, and count as the whole truth there."""
    driver = FleetDriver("lb:80")
    lb = driver.connect("lb:80", "a", sec_set("a", "b"))
    b = driver.connect("b:7070", "b")
    driver.pass_time(2.0)
    driver.break_stream(lb)
    driver.break_stream(b)
    assert driver.ordered == ["a:7070", "b:7070"]
    driver.fail("a:7070", draw=1.0)
    driver.fail("b:7070", draw=1.0)
    assert driver.ordered == ["lb:80"], "nobody can be heard, and the others wait for their time"
    driver.dial("lb:80")
    driver.pass_time(5.0)
    assert driver.ordered == [], "not before it is known who answers"
    driver.peers["lb:80"].welcome("b", secs=sec_set("a", "b", revision=2))
    assert driver.ordered == ["a:7070"]


def test_a_bootstrap_address_that_worked_is_tried_before_addresses_that_never_did() -> None:
    """A worker that can reach only one address has no use for the advertised ones."""
    driver = FleetDriver("lb:80")
    lb = driver.connect("lb:80", "a", sec_set("a", "b"))
    driver.fail("b:7070")
    driver.pass_time(2.0)
    while driver.ordered:
        driver.fail(driver.ordered[0], draw=1.0)
    driver.break_stream(lb)
    assert driver.ordered == ["lb:80"]
    driver.fail("lb:80")
    driver.pass_time(30.0)
    assert set(driver.ordered) == {"a:7070", "b:7070"}


def test_without_any_stream_the_next_set_is_taken_whatever_its_revision() -> None:
    """The store may have been restored, and its revisions have begun anew."""
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", revision=100))
    driver.pass_time(2.0)
    driver.break_stream(a)
    driver.connect("a:7070", "a", sec_set("a", "b", revision=3))
    assert driver.ordered == ["b:7070"]


def test_a_revision_does_not_go_back_while_another_stream_is_open() -> None:
    driver = FleetDriver("a:7070")
    _, b = driver.connect_all("a", "b")
    driver.pass_time(2.0)
    driver.break_stream(b)
    driver.connect("b:7070", "b", sec_set("a", "b", "c", revision=1))
    assert driver.ordered == []


def test_of_two_addresses_that_lead_to_one_sec_the_younger_stream_is_kept() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    a.invoke(invocation(ref()))
    driver.finish(ref())
    b = driver.dial("b:7070")
    b.welcome("a")
    assert [end.address for end in driver.ended_streams()] == ["a:7070"]
    assert b.results() == [ref()]
    a.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
    driver.break_stream(a)
    assert driver.ordered == []
    assert driver.fleet.error is None


def test_replaced_is_forgiven_when_we_may_have_done_it_ourselves() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    driver.dial("b:7070")
    a.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
    driver.break_stream(a)
    assert driver.fleet.error is None


def test_replaced_by_somebody_else_ends_the_worker_on_every_stream() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    a.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
    driver.break_stream(a)
    assert "another process" in str(driver.fleet.error)
    b.send(drained=True)
    driver.break_stream(b)
    assert driver.fleet.is_closed
    assert driver.ordered == []


# ---- numbers, and what every SEC is told


def test_stream_numbers_and_nonces_grow_over_all_streams() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    driver.pass_time(11.0)
    assert [peer.hello.stream_epoch for peer in (a, b)] == [1, 2]
    nonces = [frame.heartbeat.nonce for peer in (a, b) for frame in peer.frames if frame.HasField("heartbeat")]
    assert sorted(nonces) == [1, 2, 3, 4]
    driver.break_stream(a)
    assert driver.dial("a:7070").hello.stream_epoch == 3


def test_a_hello_to_nobody_knows_whom_names_all_that_is_held() -> None:
    """Whoever answers would count what it sent and is not named as lost."""
    driver = FleetDriver("lb:80", slots=4)
    lb = driver.connect("lb:80", "a", sec_set("a"))
    driver.pass_time(2.0)
    lb.invoke(invocation(ref("s1")), invocation(ref("s2")), invocation(ref("s3"), action="unknown"))
    driver.finish(ref("s1"))
    driver.break_stream(lb)
    hello = driver.dial("lb:80").hello
    assert hello.in_flight.complete
    assert in_flight(hello.in_flight) == {
        ref("s1"): PENDING,
        ref("s2"): RUNNING,
        ref("s3"): pb.IN_FLIGHT_STATE_QUEUED,
    }


def test_a_hello_at_a_secs_own_address_names_what_is_of_that_sec() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    driver.pass_time(2.0)
    a.invoke(invocation(ref("s1")))
    b.invoke(invocation(ref("s2")))
    driver.break_stream(b)
    hello = driver.dial("b:7070").hello
    assert hello.in_flight.complete
    assert in_flight(hello.in_flight) == {ref("s2"): RUNNING}


def test_a_reconcile_is_answered_with_what_is_of_that_sec() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(invocation(ref("s1")))
    b.invoke(invocation(ref("s2")))
    b.send(reconcile=pb.Reconcile())
    assert b.frames[-1].in_flight.complete
    assert in_flight(b.frames[-1].in_flight) == {ref("s2"): RUNNING}


def test_a_silent_stream_does_not_hinder_the_others() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    b = driver.dial("b:7070")
    b.welcome("b", heartbeat_interval=seconds(1), heartbeat_timeout=seconds(2))
    del driver.peers["b:7070"]  # nothing more is read or written there
    driver.pass_time(3.0)
    assert [end.address for end in driver.ended_streams()] == ["b:7070"]
    a.invoke(invocation(ref()))
    driver.finish(ref())
    assert a.results() == [ref()]


# ---- leaving


def test_drain_is_said_on_every_stream_and_each_waits_for_its_last_acknowledgement() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(invocation(ref("s1")))
    b.invoke(invocation(ref("s2")))
    driver.drain()
    assert all(peer.frames[-1].HasField("drain") for peer in (a, b))
    for peer in (a, b):
        peer.send(drained=True)
    driver.finish(ref("s1"))
    a.send(result_acks=[ack(ref("s1"))])
    assert driver.ended_streams() == [], "what runs for the other SEC may yet be told here"
    driver.finish(ref("s2"))
    b.send(result_acks=[ack(ref("s2"))])
    assert [(end.address, end.half_close) for end in driver.ended_streams()] == [("b:7070", True), ("a:7070", True)]
    driver.break_stream(a)
    assert not driver.fleet.is_closed
    driver.break_stream(b)
    assert driver.fleet.is_closed


def test_a_sec_that_is_not_there_does_not_hold_the_drain_up() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    driver.pass_time(2.0)
    driver.break_stream(b)
    driver.fail("b:7070")
    driver.drain()
    a.send(drained=True)
    driver.break_stream(a)
    assert driver.fleet.is_closed


def test_a_stream_that_is_being_opened_without_need_does_not_hold_the_drain_up() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    b = driver.dial("b:7070")
    driver.drain()
    assert [end.address for end in driver.ended_streams()] == ["b:7070"]
    driver.break_stream(b)
    a.send(drained=True)
    driver.break_stream(a)
    assert driver.fleet.is_closed


def test_a_hello_that_granted_something_waits_for_its_welcome_for_work_may_be_on_its_way() -> None:
    driver = FleetDriver("a:7070")
    driver.dial("a:7070")
    driver.drain()
    assert driver.ended_streams() == []
    driver.pass_time(limits.HANDSHAKE_SECONDS)
    assert [end.why for end in driver.ended_streams()] == ["no welcome in time"]


def test_the_result_of_a_sec_that_died_while_draining_goes_to_who_took_over() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(invocation(ref("s1")))
    driver.pass_time(2.0)
    driver.drain()
    b.send(drained=True)
    driver.break_stream(a)
    assert driver.ordered == ["a:7070"], "it may come back"
    driver.finish(ref("s1"))
    driver.fail("a:7070")
    b.send(adoptions=[pb.Adoption(saga_id="s1", epoch=2, refs=[ref("s1").message()])])
    assert b.results() == [ref("s1")]
    b.send(result_acks=[ack(ref("s1"))])
    assert [end.address for end in driver.ended_streams()] == ["b:7070"]
    driver.break_stream(b)
    assert driver.fleet.is_closed


def test_a_sec_that_dies_with_what_nobody_takes_holds_the_drain_no_longer_than_its_time() -> None:
    driver = FleetDriver("a:7070", slots=4)
    a, b = driver.connect_all("a", "b")
    a.invoke(invocation(ref("s1")))
    driver.drain(10.0)
    b.send(drained=True)
    driver.break_stream(a)
    driver.finish(ref("s1"))
    for _ in range(20):
        driver.pass_time(0.5)
        if driver.ordered:
            driver.fail(driver.ordered[0])
    assert driver.fleet.sessions
    driver.pass_time(limits.CANCEL_GRACE_SECONDS)
    driver.break_stream(b)
    assert driver.fleet.is_closed
    assert driver.fleet.next_deadline() is None, "it is closed"
    before = len(driver.calls())
    for _ in range(20):
        driver.pass_time(1.0)
    assert (len(driver.calls()), driver.ordered) == (before, []), "who has left asks nobody for anything"


@pytest.mark.parametrize("secs", [("a",), ("a", "b", "c")])
def test_a_worker_that_holds_nothing_leaves_as_soon_as_all_is_drained(secs: tuple[str, ...]) -> None:
    driver = FleetDriver("a:7070")
    peers = driver.connect_all(*secs)
    driver.drain()
    for peer in peers:
        peer.send(drained=True)
    for peer in peers:
        driver.break_stream(peer)
    assert driver.fleet.is_closed
    assert len(driver.ended_streams()) == len(secs)
    assert driver.fleet.next_deadline() is None or not driver.fleet.sessions


def test_addresses_are_those_of_the_set() -> None:
    assert [sec.address for sec in sec_set("a", "b").secs] == [address_of("a"), address_of("b")]


def test_a_rejection_that_was_not_read_is_told_before_the_worker_leaves() -> None:
    driver = FleetDriver("a:7070")
    a, b = driver.connect_all("a", "b")
    driver.pass_time(2.0)
    a.invoke(invocation(ref(), action="unknown"))
    driver.break_stream(a)
    driver.drain()
    b.send(drained=True)
    driver.break_stream(b)
    assert driver.ordered == ["a:7070"]
    a = driver.connect("a:7070", "a")
    assert [of for of, _ in a.rejections()] == [ref()]
    a.send(drained=True)
    driver.break_stream(a)
    assert driver.fleet.is_closed


def test_a_dial_that_hangs_to_a_sec_that_left_hinders_no_other() -> None:
    driver = FleetDriver("a:7070")
    a = driver.connect("a:7070", "a", sec_set("a", "b"))
    driver.dial("b:7070")
    a.send(secs=sec_set("a", "c", revision=2))
    assert driver.ordered == ["c:7070"]
