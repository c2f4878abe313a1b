"""All sessions: who gets what, who waits, and what becomes of attempts whose worker goes."""

from __future__ import annotations

import pytest

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core import limits
from sagaline_server.core.decide import Cancel, CancelReason
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Disposition
from tests.unit.dispatch.conftest import GRACE, World
from tests.unit.dispatch.messages import ACT, OTHER, UNDO, hello, invocation, key, ref, work

# ---- routing


def test_an_action_goes_to_a_worker_that_serves_it(world: World) -> None:
    world.connect("w1")
    world.connect("w2", actions=[pb.ActionSpec(action="other")])
    assert world.dispatcher.reserve(OTHER) == "w2"
    assert world.dispatcher.reserve(("act", "2", Kind.ACTION)) is None
    assert world.dispatcher.reserve(UNDO) == "w1"


def test_a_slot_given_back_can_be_reserved_again(world: World) -> None:
    world.connect("w1", window=1)
    assert world.dispatcher.reserve(ACT) == "w1"
    assert world.dispatcher.reserve(ACT) is None
    world.dispatcher.release("w1", ACT)
    assert world.dispatcher.reserve(ACT) == "w1"
    world.dispatcher.release("gone", ACT)


def test_the_less_loaded_of_two_workers_gets_it(world: World) -> None:
    first = world.connect("w1", window=4)
    world.connect("w2", window=4)
    first.reserve(ACT)
    world.draws = [0.0, 0.9]
    assert world.dispatcher.reserve(ACT) == "w2"
    world.draws = [0.0, 0.0]
    assert world.dispatcher.reserve(ACT) == "w1", "where both draws are the same worker there is no choice"


def test_any_worker_with_room_will_do(world: World) -> None:
    for worker_id in ("w1", "w2"):
        world.connect(worker_id, window=0)
    world.connect("w3", window=1)
    world.draws = [0.0, 0.4]
    assert world.dispatcher.reserve(ACT) == "w3"
    assert world.dispatcher.reserve(ACT) is None


def test_a_worker_is_routed_to_once_however_often_it_says_hello(world: World) -> None:
    world.connect("w1", window=1)
    session = world.connect("w1", epoch=2, window=1)
    world.dispatcher.disconnect(session)
    assert world.dispatcher.reserve(ACT) is None
    assert world.dispatcher.why(ACT) == (False, False, "no worker serves action act")


# ---- waiting


def test_what_waits_for_a_worker_starts_when_one_connects(world: World) -> None:
    """Nothing else need happen: neither a heartbeat nor a result has to come first."""
    world.dispatcher.wait("s", 0, ACT)
    world.connect("w1")
    assert world.sagas.offers == [("s", 0, Kind.ACTION, "w1")]
    assert world.dispatcher.waiting_count() == 0


def test_first_come_is_first_served_and_undo_before_action(world: World) -> None:
    for node in (1, 2, 3):
        world.dispatcher.wait("s", node, ACT)
    for node in (4, 5):
        world.dispatcher.wait("s", node, UNDO)
    world.connect("w1", window=3)
    assert [offer[1:3] for offer in world.sagas.offers] == [
        (4, Kind.UNDO),
        (5, Kind.UNDO),
        (1, Kind.ACTION),
    ]
    assert world.dispatcher.waiting_count() == 2


def test_waiting_twice_is_waiting_once(world: World) -> None:
    for _ in range(3):
        world.dispatcher.wait("s", 0, ACT)
    world.dispatcher.wait("s", 0, UNDO)
    assert world.dispatcher.waiting_count() == 2


def test_nobody_overtakes_those_that_wait(world: World) -> None:
    world.connect("w1", window=0)
    world.dispatcher.wait("s", 0, ACT)
    world.connect("w2", window=0)
    session = world.connect("w3", window=0)
    session.grant(pb.Capacity(max_in_flight_by_pool={"": 2}))
    assert world.dispatcher.reserve(ACT) is None
    world.dispatcher.pump(session)
    assert world.dispatcher.reserve(ACT) == "w3"


@pytest.mark.parametrize("how", ["result", "release", "capacity", "move"])
def test_every_slot_that_becomes_free_is_offered(world: World, how: str) -> None:
    session = world.connect(window=1)
    world.start(session, "a")
    world.dispatcher.wait("s2", 7, ACT)
    world.sagas.live.add("s2")
    assert not world.sagas.offers
    if how == "result":
        session.finish(key("a"))
        world.dispatcher.pump(session)
    elif how == "release":
        session.finish(key("a"))
        session.reserve(ACT)
        world.dispatcher.release("w", ACT)
    elif how == "capacity":
        session.grant(pb.Capacity(max_in_flight_by_pool={"": 2}))
        world.dispatcher.pump_all()
    else:
        world.dispatcher.move("s", ("sec-2", "sec-2:1"), 2)
    assert world.sagas.offers == [("s2", 7, Kind.ACTION, "w")]


def test_a_saga_that_has_gone_does_not_keep_others_waiting(world: World) -> None:
    world.dispatcher.wait("gone", 0, ACT)
    world.dispatcher.wait("s", 1, ACT)
    world.connect(window=1)
    assert world.sagas.offers == [("s", 1, Kind.ACTION, "w")]


def test_why_a_node_waits(world: World) -> None:
    why = world.dispatcher.why
    assert why(ACT) == (False, False, "no worker serves action act")
    world.connect(actions=[pb.ActionSpec(action="act", versions=["2"], kinds=[saga_pb2.INVOCATION_KIND_ACTION])])
    assert why(ACT) == (True, False, "no worker serves version 1 action of action act; served: 2 action")
    assert why(("act", "2", Kind.ACTION)) == (True, True, "every worker that serves it is full")


# ---- sending


def test_an_invocation_goes_out_in_the_slot_that_was_reserved(world: World) -> None:
    session = world.connect(window=1)
    assert world.dispatcher.reserve(ACT) == "w"
    world.dispatcher.send("s", work("w", "a"), invocation(key("a")))
    assert not session.has_room(ACT)
    (frame,) = world.deliver(session)
    assert [each.ref for each in frame.invocations] == [ref(key("a"))]
    session.finish(key("a"))
    assert session.has_room(ACT)


@pytest.mark.parametrize("trouble", ["unknown", "detached", "draining"])
def test_what_cannot_be_sent_is_rejected_and_uses_no_slot(world: World, trouble: str) -> None:
    """Its start is durable, and it certainly never ran: it is tried elsewhere at once, and at no cost."""
    session = world.connect(window=1)
    session.reserve(ACT)
    world.deliver(session)
    if trouble == "detached":
        world.dispatcher.disconnect(session)
    elif trouble == "draining":
        world.dispatcher.drain(session)
        world.deliver(session)
    world.dispatcher.send("s", work("nobody" if trouble == "unknown" else "w", "a"), invocation(key("a")))
    assert world.sagas.rejected() == ["a"]
    assert not session.in_flight
    assert world.deliver(session) == [], "a worker that was told that it is drained gets nothing more"
    if trouble != "unknown":
        session = world.connect(epoch=2, window=1)
        assert session.has_room(ACT)


@pytest.mark.parametrize(
    ("kind", "size", "fits"),
    [
        (Kind.ACTION, limits.INVOCATION_BYTES - 500, True),
        (Kind.ACTION, limits.INVOCATION_BYTES, False),
        (Kind.UNDO, limits.INVOCATION_BYTES, True),
        (Kind.UNDO, limits.FRAME_BYTES, False),
    ],
)
def test_an_invocation_too_large_for_a_frame_fails(world: World, kind: Kind, size: int, fits: bool) -> None:
    """Sent, it would end the worker's stream, and after every retry the next one."""
    session = world.connect(window=1)
    action = (ACT[0], ACT[1], kind)
    session.reserve(action)
    message = invocation(key("a", kind=kind), size)
    world.dispatcher.send("s", work("w", "a", action), message)
    assert bool(session.in_flight) is fits
    assert session.has_room(action) is not fits
    if fits:
        (frame,) = world.deliver(session)
        assert frame.ByteSize() <= limits.FRAME_BYTES
        return
    ((saga_id, result, _),) = world.sagas.results
    assert (saga_id, result.node, result.kind, result.attempt) == ("s", "a", kind, 1)
    assert result.failure is not None
    assert result.failure.type == "sagaline.InvocationTooLarge"
    assert result.failure.disposition is Disposition.FAIL


def test_a_cancellation_goes_to_the_worker_that_has_the_attempt(world: World) -> None:
    session = world.connect()
    world.start(session, "a")
    world.deliver(session)
    for worker_id, attempt in (("w", 2), ("other", 1), ("w", 1)):
        cancel = Cancel(0, Kind.ACTION, attempt, worker_id, CancelReason.SAGA_UNWINDING)
        world.dispatcher.cancel("s", "a", cancel)
    (frame,) = world.deliver(session)
    (cancellation,) = frame.cancellations
    assert cancellation.ref == ref(key("a"))
    assert cancellation.reason == pb.CANCELLATION_REASON_SAGA_UNWINDING


# ---- workers that go


def test_attempts_stay_with_a_worker_for_its_grace_time(world: World) -> None:
    session = world.connect()
    world.start(session, "a")
    world.deliver(session)
    world.dispatcher.disconnect(session)
    world.clock.now += GRACE - 1
    world.dispatcher.end_graces()
    assert not world.sagas.ends
    again = world.connect(epoch=2, in_flight=pb.InFlightReport(complete=True, entries=[_running("a")]))
    assert again is session
    world.clock.now += GRACE + 1
    world.dispatcher.end_graces()
    assert not world.sagas.ends
    assert set(session.in_flight) == {key("a")}


def _running(node: str) -> pb.InFlightEntry:
    return pb.InFlightEntry(ref=ref(key(node)), state=pb.IN_FLIGHT_STATE_RUNNING)


def test_after_its_grace_time_a_worker_is_forgotten_and_its_attempts_are_lost(world: World) -> None:
    session = world.connect()
    world.start(session, "a")
    world.dispatcher.disconnect(session)
    world.clock.now += GRACE
    world.dispatcher.end_graces()
    assert world.sagas.lost() == [("a", False)]
    assert not world.dispatcher.sessions
    assert world.connect() is not session


def test_a_worker_that_drained_with_nothing_left_is_forgotten_at_once(world: World) -> None:
    session = world.connect()
    world.start(session, "a")
    world.deliver(session)
    world.dispatcher.drain(session)
    (frame,) = world.deliver(session)
    assert frame.drained
    session.finish(key("a"))
    world.dispatcher.disconnect(session)
    assert not world.dispatcher.sessions


def test_a_worker_that_drained_is_waited_for_while_something_is_expected_of_it(world: World) -> None:
    """A saga was taken over whose attempt it may hold: if it never says so, the attempt must end all the same."""
    session = world.connect()
    world.dispatcher.drain(session)
    world.dispatcher.expect("w", key("a"), ACT, 2)
    world.dispatcher.disconnect(session)
    world.clock.now += GRACE
    world.dispatcher.end_graces()
    assert world.sagas.lost() == [("a", False)]


# ---- sagas that come and go


def test_the_workers_of_a_moved_saga_are_told_who_owns_it(world: World) -> None:
    holder, other = world.connect("w1", window=1), world.connect("w2")
    world.start(holder, "a")
    world.dispatcher.expect("w3", key("b"), ACT, 1)
    world.deliver(holder)
    world.deliver(other)
    world.dispatcher.move("s", ("sec-2", "sec-2:7070"), 5)
    (frame,) = world.deliver(holder)
    owner = pb.Sec(sec_id="sec-2", address="sec-2:7070")
    assert list(frame.saga_moves) == [pb.SagaMoved(saga_id="s", owner=owner, epoch=5)]
    assert world.deliver(other) == []
    assert holder.has_room(ACT)
    world.clock.now += GRACE
    world.dispatcher.end_graces()
    assert not world.sagas.ends, "this SEC has nothing more with them"


def test_without_its_sagas_a_sec_keeps_its_sessions_and_no_slot_is_lost(world: World) -> None:
    session = world.connect(window=2)
    world.start(session, "a")
    session.reserve(ACT)
    world.dispatcher.wait("s", 1, ACT)
    world.dispatcher.expect("w2", key("b"), ACT, 1)
    world.dispatcher.clear_sagas()
    assert world.dispatcher.waiting_count() == 0
    world.clock.now += GRACE
    world.dispatcher.end_graces()
    assert not world.sagas.ends
    assert [world.dispatcher.reserve(ACT) for _ in range(3)] == ["w", "w", None]


def test_hello_of_a_worker_that_is_here_replaces_its_stream(world: World) -> None:
    session = world.connect()
    given = hello(epoch=2)
    same, replaced = world.dispatcher.connect(given, lambda: None, 9.0)
    assert same is replaced is session
    assert session.connect_time == 5.0, "its session began with its first stream"
    world.dispatcher.disconnect(session)
    same, replaced = world.dispatcher.connect(hello(epoch=3), lambda: None, 9.0)
    assert same is session
    assert replaced is None
