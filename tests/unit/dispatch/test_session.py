"""One worker's session: its windows, its frames, what it has in flight."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core import limits
from sagaline_server.core.entries import Kind
from sagaline_server.dispatch.session import AttemptKey, Session
from tests.unit.dispatch.messages import ACT, OTHER, UNDO, hello, invocation, key


class Wakes:
    """Counts how often there was something to send."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def attached(given: pb.Hello | None = None) -> Session:
    given = given or hello()
    session = Session(given, 5.0)
    session.attach(given, Wakes())
    return session


def send(session: Session, *nodes: str) -> None:
    for node in nodes:
        session.reserve(ACT)
        session.send(key(node), ACT, invocation(key(node)))


def taken(session: Session) -> list[pb.ConnectResponse]:
    frames = []
    while (frame := session.take_frame()) is not None:
        frames.append(frame)
    return frames


# ---- windows


def test_nothing_is_granted_before_a_hello() -> None:
    assert not Session(hello(), 5.0).has_room(ACT)


def test_a_reserved_slot_is_used_until_it_is_given_back() -> None:
    session = attached(hello(window=1))
    session.reserve(ACT)
    assert not session.has_room(ACT)
    session.release(ACT)
    assert session.has_room(ACT)
    session.release(ACT)
    session.reserve(ACT)
    assert not session.has_room(ACT), "a slot that was given back twice is one slot"


def test_a_slot_is_used_from_its_reservation_to_the_end_of_its_attempt() -> None:
    session = attached(hello(window=1))
    send(session, "a")
    assert not session.has_room(ACT)
    assert session.finish(key("a")) == ACT
    assert session.has_room(ACT)
    assert session.finish(key("a")) is None
    session.reserve(ACT)
    assert not session.has_room(ACT), "an attempt that ends twice frees one slot"


def test_both_sides_of_all_actions_of_a_pool_share_its_window() -> None:
    session = attached(hello(window=2, actions=[pb.ActionSpec(action="act"), pb.ActionSpec(action="other")]))
    session.reserve(ACT)
    session.reserve(UNDO)
    assert not any(session.has_room(action) for action in (ACT, UNDO, OTHER))


def test_pools_have_windows_of_their_own() -> None:
    actions = [pb.ActionSpec(action="act"), pb.ActionSpec(action="other", slot_pool="gpu")]
    session = attached(hello(window={"": 1, "gpu": 1}, actions=actions))
    session.reserve(ACT)
    assert not session.has_room(ACT)
    assert session.has_room(OTHER)
    assert session.load(OTHER) == 0.0
    assert session.load(ACT) == 1.0


@pytest.mark.parametrize("window", [{}, {"gpu": 5}, {"": 0}, {"": -3}])
def test_a_pool_without_a_window_gets_nothing(window: Mapping[str, int]) -> None:
    assert not attached(hello(window=window)).has_room(ACT)


def test_an_action_may_have_a_limit_of_its_own() -> None:
    session = attached(hello(window=5, actions=[pb.ActionSpec(action="act", max_in_flight=1)]))
    session.reserve(ACT)
    assert not session.has_room(ACT)
    assert session.has_room(UNDO), "each side is counted for itself"


def test_a_new_capacity_replaces_the_old_one() -> None:
    session = attached(hello(window=1))
    send(session, "a")
    session.grant(pb.Capacity(max_in_flight_by_pool={"": 2}))
    assert session.has_room(ACT)
    session.grant(pb.Capacity(max_in_flight_by_pool={"": 0}))
    assert not session.has_room(ACT)
    session.grant(pb.Capacity(max_in_flight_by_pool={"": 2**31 - 1}))
    assert session.capacity().max_in_flight_by_pool[""] == limits.WINDOW_MAX


def test_payload_bytes_have_a_window_too() -> None:
    given = hello(window=10)
    given.capacity.max_in_flight_bytes = 1_000
    session = attached(given)
    session.send(key("a"), ACT, invocation(key("a"), 2_000))
    assert not session.has_room(ACT)
    session.finish(key("a"))
    assert session.has_room(ACT)


def test_what_is_not_served_has_no_room() -> None:
    actions = [pb.ActionSpec(action="act", versions=["2"], kinds=[saga_pb2.INVOCATION_KIND_UNDO])]
    session = attached(hello(actions=actions))
    assert session.has_room(("act", "2", Kind.UNDO))
    for action in (ACT, UNDO, ("act", "2", Kind.ACTION), OTHER):
        assert not session.has_room(action)


def test_a_worker_that_leaves_or_rejects_gets_nothing() -> None:
    session = attached()
    session.rejecting.add(ACT)
    assert not session.has_room(ACT)
    assert session.has_room(UNDO)
    session.draining = True
    assert not session.has_room(UNDO)
    session.attach(hello(epoch=2), Wakes())
    assert session.has_room(ACT), "a new hello begins anew"
    session.detach()
    assert not session.has_room(ACT)


def test_slots_are_counted_anew_when_an_action_moves_to_another_pool() -> None:
    session = attached(hello(window={"": 1}))
    send(session, "a")
    session.reserve(UNDO)
    moved = [pb.ActionSpec(action="act", slot_pool="gpu")]
    session.attach(hello(epoch=2, window={"": 1, "gpu": 3}, actions=moved), Wakes())
    session.reserve(ACT)
    assert not session.has_room(ACT), "one in flight, two reserved"
    session.finish(key("a"))
    session.release(UNDO)
    session.release(ACT)
    session.attach(hello(epoch=3, window={"": 1}), Wakes())
    assert session.has_room(ACT), "nothing is left of it in either pool"


# ---- frames


def test_what_gathers_makes_one_frame_and_wakes_the_writer() -> None:
    session = Session(hello(), 5.0)
    wakes = Wakes()
    session.attach(hello(), wakes)
    assert session.take_frame() is None
    send(session, "a", "b")
    session.ack(b"")
    session.cancel(pb.Cancellation())
    session.say(pb.ConnectResponse(heartbeat_nonce=7))
    assert wakes.count == 1, "it takes all that there is"
    (frame,) = taken(session)
    assert [len(part) for part in (frame.invocations, frame.result_acks, frame.cancellations)] == [2, 1, 1]
    assert (frame.sequence, frame.heartbeat_nonce) == (1, 7)
    send(session, "c")
    assert wakes.count == 2
    assert [frame.sequence for frame in taken(session)] == [2]


def test_no_frame_is_larger_than_its_limit() -> None:
    session = attached(hello(window=100))
    for number in range(10):
        of = key(f"n{number}")
        session.send(of, ACT, invocation(of, 250_000))
    frames = taken(session)
    assert max(frame.ByteSize() for frame in frames) <= limits.FRAME_BYTES
    assert [frame.sequence for frame in frames] == [1, 2, 3]
    sent = [each.ref.node for frame in frames for each in frame.invocations]
    assert sent == [f"n{number}" for number in range(10)], "in the order in which they were sent"


def test_nothing_is_said_without_a_stream() -> None:
    session = attached()
    session.say(pb.ConnectResponse(heartbeat_nonce=1))
    session.detach()
    session.say(pb.ConnectResponse(heartbeat_nonce=2))
    session.ack(b"")
    session.cancel(pb.Cancellation())
    session.attach(hello(epoch=2), Wakes())
    assert taken(session) == []


# ---- receipts


def received(session: Session) -> list[AttemptKey]:
    return [each for each, attempt in session.in_flight.items() if attempt.received]


def test_a_receipt_counts_for_every_frame_up_to_it() -> None:
    session = attached(hello(window=10))
    for node in ("a", "b", "c"):
        send(session, node)
        taken(session)
    assert session.oldest_unreceived == 1
    session.received(2)
    assert received(session) == [key("a"), key("b")]
    assert session.oldest_unreceived == 3
    session.received(1)
    assert session.oldest_unreceived == 3, "an older receipt says nothing new"
    session.received(3)
    assert session.oldest_unreceived == 0


def test_frames_count_anew_on_every_stream() -> None:
    session = attached(hello(window=10))
    send(session, "a")
    taken(session)
    session.attach(hello(epoch=2, window=10), Wakes())
    send(session, "b")
    assert [frame.sequence for frame in taken(session)] == [1]
    session.received(1)
    assert received(session) == [key("b")], "what an earlier stream carried is not in frame 1 of this one"


def test_a_question_is_about_what_was_received_before_it() -> None:
    session = attached(hello(window=10))
    send(session, "a", "b")
    taken(session)
    session.received(1)
    send(session, "c")
    session.ask()
    assert list(session.question or ()) == [key("a"), key("b")]
    (frame,) = taken(session)
    assert frame.HasField("reconcile")
    session.ask()
    assert taken(session) == [], "the worker has yet to answer"


def test_forgotten_work_is_not_sent_and_uses_no_slot() -> None:
    session = attached(hello(window=2))
    send(session, "a")
    session.reserve(ACT)
    session.say(pb.ConnectResponse(heartbeat_nonce=7))
    session.forget_work()
    assert not session.in_flight
    (frame,) = taken(session)
    assert (list(frame.invocations), frame.heartbeat_nonce) == ([], 7)
    session.release(ACT)
    session.reserve(ACT)
    session.reserve(ACT)
    assert not session.has_room(ACT), "what is released late frees nothing"
