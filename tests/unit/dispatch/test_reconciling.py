"""What a worker says that it holds, against what this SEC believes: nothing that runs is lost, nothing is forgotten."""

from __future__ import annotations

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.entries import Kind
from sagaline_server.dispatch.dispatcher import check_report, ref_key
from tests.unit.dispatch.conftest import GRACE, World
from tests.unit.dispatch.messages import ACT, key, ref, report

# ---- hello


def test_an_attempt_that_the_worker_lists_stays_with_it(world: World) -> None:
    session = world.connect(window=1)
    world.start(session, "a")
    world.deliver(session, acknowledged=False)
    session = world.connect(epoch=2, window=1, in_flight=report([key("a")]))
    assert not world.sagas.ends
    assert session.in_flight[key("a")].received
    assert not session.has_room(ACT)


def test_an_attempt_that_was_received_and_is_not_listed_is_in_doubt(world: World) -> None:
    session = world.connect(window=1)
    world.start(session, "a")
    world.deliver(session)
    session = world.connect(epoch=2, window=1)
    assert world.sagas.lost() == [("a", True)]
    assert session.has_room(ACT)


def test_an_attempt_that_was_not_received_and_is_not_listed_never_ran(world: World) -> None:
    session = world.connect(window=1)
    world.start(session, "a")
    world.deliver(session, acknowledged=False)
    session = world.connect(epoch=2, window=1)
    assert world.sagas.rejected() == ["a"]
    assert session.has_room(ACT)


def test_a_hello_that_is_cut_ends_nothing_before_the_rest_has_come(world: World) -> None:
    session = world.connect(window=9)
    world.start(session, "a", "b", "c")
    world.deliver(session)
    world.start(session, "unread")
    world.dispatcher.expect("w", key("x"), ACT, 2)
    world.dispatcher.expect("w", key("y"), ACT, 2)
    session = world.connect(epoch=2, window=9, in_flight=report([key("a"), key("x")], complete=False))
    assert not world.sagas.ends
    world.start(session, "new")
    world.deliver(session)
    world.dispatcher.report(session, report([key("b")], complete=False))
    world.dispatcher.report(session, report([]))
    assert world.sagas.lost() == [("c", True)], "what was taken over is asked for by name"
    assert world.sagas.rejected() == ["unread"]
    assert set(session.in_flight) == {key("a"), key("b"), key("x"), key("new")}


def test_what_a_recovered_log_gives_to_a_worker_is_taken_on_or_lost(world: World) -> None:
    for node in ("kept", "gone"):
        world.dispatcher.expect("w", key(node), ACT, 2)
    session = world.connect(window=1, in_flight=report([key("kept")]))
    assert not world.sagas.ends, "the worker may hold it for the SEC that sent it"
    assert set(session.in_flight) == {key("kept")}
    asked = [ref for frame in world.deliver(session) for adoption in frame.adoptions for ref in adoption.refs]
    assert [ref_key(ref) for ref in asked] == [key("gone")]
    world.dispatcher.report(session, report(not_held=[key("gone")], complete=False))
    assert world.sagas.lost() == [("gone", True)]
    assert not session.has_room(ACT), "it uses a slot"
    session.finish(key("kept"))
    assert session.has_room(ACT)


# ---- adoption


def test_a_worker_that_is_here_is_asked_for_what_a_recovered_log_gives_it(world: World) -> None:
    session = world.connect()
    world.deliver(session)
    world.dispatcher.expect("w", key("a"), ACT, 4)
    (frame,) = world.deliver(session)
    assert list(frame.adoptions) == [pb.Adoption(saga_id="s", epoch=4, refs=[ref(key("a"))])]
    world.dispatcher.report(session, report([key("a")], complete=False))
    assert set(session.in_flight) == {key("a")}
    assert not world.sagas.ends


def test_a_worker_may_not_hold_what_is_adopted(world: World) -> None:
    session = world.connect()
    world.dispatcher.expect("w", key("a"), ACT, 4)
    world.dispatcher.report(session, report(not_held=[key("a")], complete=False))
    assert world.sagas.lost() == [("a", True)]
    assert not session.in_flight


def test_a_complete_report_that_crosses_an_adoption_says_nothing_of_it(world: World) -> None:
    session = world.connect()
    session.ask()
    world.dispatcher.expect("w", key("a"), ACT, 4)
    world.dispatcher.report(session, report())
    assert not world.sagas.ends
    world.dispatcher.report(session, report([key("a")], complete=False))
    assert set(session.in_flight) == {key("a")}


def test_a_worker_that_never_comes_has_the_grace_time_too(world: World) -> None:
    world.dispatcher.expect("w", key("a"), ACT, 4)
    world.clock.now += GRACE / 2
    world.dispatcher.expect("w", key("b"), ACT, 4)
    world.clock.now += GRACE / 2
    world.dispatcher.end_graces()
    assert world.sagas.lost() == [("a", False), ("b", False)]


# ---- reconciling now and then


def test_what_was_received_and_is_not_named_in_the_answer_is_in_doubt(world: World) -> None:
    session = world.connect(window=9)
    world.start(session, "held", "forgotten", "ended")
    world.deliver(session)
    session.ask()
    session.finish(key("ended"))
    world.dispatcher.report(session, report([key("held")]))
    assert world.sagas.lost() == [("forgotten", True)]
    assert set(session.in_flight) == {key("held")}


def test_what_was_sent_after_the_question_is_not_in_the_answer(world: World) -> None:
    """The worker may have listed what it held before the invocation came, and acknowledge it with the list."""
    session = world.connect(window=9)
    session.ask()
    world.start(session, "late")
    world.deliver(session)
    world.dispatcher.report(session, report())
    assert not world.sagas.ends
    assert set(session.in_flight) == {key("late")}


def test_an_answer_may_come_in_parts(world: World) -> None:
    session = world.connect(window=9)
    world.start(session, "a", "b", "c")
    world.deliver(session)
    session.ask()
    world.dispatcher.report(session, report([key("a")], complete=False))
    world.deliver(session)
    session.ask()
    assert world.deliver(session) == [], "no new question before the answer to the last one"
    world.dispatcher.report(session, report([key("b")]))
    assert world.sagas.lost() == [("c", True)]


def test_an_answer_that_nobody_asked_for_ends_nothing(world: World) -> None:
    session = world.connect()
    world.start(session, "a")
    world.deliver(session)
    world.dispatcher.report(session, report())
    assert not world.sagas.ends


# ---- attempts that nobody knows


@pytest.mark.parametrize(
    ("live", "over", "told"),
    [(True, False, False), (False, True, True), (False, False, False)],
    ids=["a live saga's", "one of a saga that is over", "one of another SEC's saga"],
)
def test_a_worker_is_told_to_stop_an_attempt_only_if_its_saga_is_over(
    world: World, live: bool, over: bool, told: bool
) -> None:
    world.sagas.live = {"s"} if live else set()
    world.sagas.over = {"s"} if over else set()
    session = world.connect(in_flight=report([key("a")]))
    frames = world.deliver(session)
    assert bool(frames) is told
    if told:
        (cancellation,) = frames[0].cancellations
        assert cancellation == pb.Cancellation(ref=ref(key("a")), reason=pb.CANCELLATION_REASON_NOT_FOUND)
    assert not session.in_flight


# ---- nonsense


def test_a_report_that_makes_no_sense_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match=r"ref\.kind is ACTION or UNDO"):
        ref_key(pb.InvocationRef(saga_id="s", node="a", attempt=1))
    stateless = pb.InFlightReport(entries=[pb.InFlightEntry(ref=ref(key("a")))])
    with pytest.raises(ValueError, match="state"):
        check_report(stateless)
    session = world.connect()
    with pytest.raises(ValueError, match="state"):
        world.dispatcher.report(session, stateless)
    assert ref_key(ref(key("a", 3, Kind.UNDO))) == key("a", 3, Kind.UNDO)
