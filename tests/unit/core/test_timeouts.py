"""Limits in time: of attempts, of waiting for a worker, and what is done about an outcome that stays unknown."""

from __future__ import annotations

from sagaline_server.core.decide import CancelReason, Lost
from sagaline_server.core.entries import AttemptEnded, NodeFailed, NodeHeld, Resolution, SagaState
from sagaline_server.core.graph import ActionNode, Node, RetryPolicy, Timeouts, UnknownPolicy
from sagaline_server.core.timeouts import GRACE_SECONDS
from sagaline_server.core.turn import Pulse, Turn
from sagaline_server.core.values import Disposition, FailureSource, Payload
from tests.unit.core.graphs import ONCE, PATIENT, action, flat
from tests.unit.core.scene import ACTION, UNDO, Scene, failure


def timed(name: str, *after: str, retry: RetryPolicy = PATIENT, undo: Timeouts | None = None, **limits: float) -> Node:
    timeouts = Timeouts(**limits) if limits else None
    body = ActionNode(f"do.{name}", retry=retry, undo_retry=PATIENT, timeouts=timeouts, undo_timeouts=undo)
    return Node(name, body, after)


def policy(name: str, unknown: UnknownPolicy, retry: RetryPolicy = PATIENT) -> Node:
    return Node(name, ActionNode(f"do.{name}", retry=retry, undo_retry=PATIENT, unknown=unknown))


def test_an_attempt_is_asked_to_stop_and_given_up_only_after_the_grace() -> None:
    """Rule 4: a timeout is unknown, never a failure; the worker gets the time to say how it ended."""
    scene = Scene(flat(timed("a", start_to_close=10.0)))
    scene.advance(10.0)
    assert [(cancel.attempt, cancel.reason) for cancel in scene.cancels] == [(1, CancelReason.TIMED_OUT)]
    assert scene.flying() == {"a"}
    scene.advance(GRACE_SECONDS)
    ended = scene.entries()[-1]
    assert isinstance(ended, AttemptEnded)
    assert ended.overdue
    assert ended.failure is not None
    assert ended.failure.source is FailureSource.TIMEOUT
    scene.advance(1.0)
    assert scene.saga.run(0, ACTION).attempt == 2


def test_an_answer_within_the_grace_counts() -> None:
    """Rule 4: what the worker says is worth the same, late or not."""
    scene = Scene(flat(timed("a", start_to_close=10.0)))
    scene.advance(20.0)
    scene.succeed("a")
    assert scene.state() is SagaState.SUCCEEDED


def test_no_undo_starts_beside_an_attempt_that_may_run() -> None:
    """Rule 8: its worker is heard from, so its answer or its loss is waited for."""
    scene = Scene(flat(timed("a", retry=ONCE, start_to_close=10.0)))
    scene.advance(10.0 + GRACE_SECONDS)
    assert scene.are(a="IN_DOUBT")
    assert scene.flying() == set()
    scene.take(Lost("a", ACTION, 1, "gone"))
    assert scene.flying() == {"undo a"}


def test_a_late_answer_of_an_attempt_that_was_given_up_decides_its_node() -> None:
    """Rule 8: in doubt until then."""
    scene = Scene(flat(timed("a", retry=ONCE, start_to_close=10.0)))
    scene.advance(10.0 + GRACE_SECONDS)
    scene.fail("a")
    assert scene.state() is SagaState.UNWOUND


def test_a_rejection_of_an_attempt_that_was_given_up_ends_the_wait() -> None:
    """Rule 8: it does not run, and that is all that is known."""
    scene = Scene(flat(timed("a", retry=ONCE, start_to_close=10.0)))
    scene.advance(10.0 + GRACE_SECONDS)
    scene.reject("a", attempt=1)
    assert scene.flying() == {"undo a"}


def test_the_time_of_an_attempt_survives_a_change_of_owner() -> None:
    """Rule 5: it counts from the start that the log has."""
    scene = Scene(flat(timed("a", start_to_close=10.0)))
    scene.advance(6.0)
    scene.crash([("a", ACTION, 1)])
    scene.advance(4.0)
    assert [cancel.reason for cancel in scene.cancels] == [CancelReason.TIMED_OUT]


def test_an_attempt_without_progress_has_had_its_time() -> None:
    """The worker being alive is not enough."""
    scene = Scene(flat(timed("a", heartbeat=3.0)))
    scene.advance(3.0)
    assert [cancel.reason for cancel in scene.cancels] == [CancelReason.TIMED_OUT]


def test_an_undo_attempt_has_its_time_too() -> None:
    """The same for undo: it is tried again, and never counts as undone."""
    scene = Scene(flat(timed("a", undo=Timeouts(start_to_close=5.0)), action("b", "a")))
    scene.succeed("a")
    scene.fail("b")
    scene.advance(5.0 + GRACE_SECONDS + 1.0)
    assert scene.saga.run(0, UNDO).attempt == 2
    scene.undo("a", attempt=1)
    assert scene.state() is SagaState.UNWOUND


def test_no_worker_in_time_is_a_failure_without_effect_where_nothing_was_sent() -> None:
    """Rule 4: nothing was sent, so there was no effect."""
    scene = Scene(flat(action("z"), timed("a", "z", schedule_to_start=5.0)))
    scene.room = False
    scene.succeed("z")
    scene.advance(4.9)
    assert scene.are(a="PENDING")
    scene.advance(0.1)
    scene.room = True
    failed = scene.entries()[-1]
    assert isinstance(failed, NodeFailed)
    assert (failed.node, failed.attempt, failed.effect_unknown) == ("a", 0, False)


def test_no_worker_in_time_leaves_a_node_in_doubt_where_something_was_sent() -> None:
    """Rule 4: an earlier attempt may have had an effect."""
    scene = Scene(flat(timed("a", schedule_to_start=5.0)))
    scene.room = False
    scene.retry("a")
    scene.advance(1.0 + 5.0)
    assert scene.are(a="IN_DOUBT")


def test_time_in_the_gate_does_not_count_as_waiting_for_a_worker() -> None:
    """Rule 15: pauses change when things happen, not what."""
    scene = Scene(flat(timed("a", schedule_to_start=5.0)), paused=True)
    scene.room = False
    scene.advance(100.0)
    scene.resume()
    scene.advance(4.0)
    assert scene.are(a="PENDING")
    scene.room = True
    scene.place_all()
    assert scene.flying() == {"a"}


def test_no_worker_for_an_undo_in_time_is_a_stuck_saga() -> None:
    """Rule 12: an operator decides, and can let it be tried again."""
    scene = Scene(flat(timed("a", undo=Timeouts(schedule_to_start=5.0)), action("b", "a")))
    scene.succeed("a")
    scene.room = False
    scene.fail("b")
    scene.advance(5.0)
    assert scene.state() is SagaState.STUCK
    scene.room = True
    scene.order("a", Resolution.RETRY)
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_policy_undo_undoes_as_unknown_at_once() -> None:
    """Rule 8: the policy gives up at the first unknown outcome."""
    scene = Scene(flat(policy("a", UnknownPolicy.UNDO)))
    scene.retry("a")
    assert scene.flying() == {"undo a"}
    assert scene.invocations("a", UNDO)[0].action_output is None


def test_policy_hold_holds_when_attempts_run_out() -> None:
    """An operator decides what nobody knows; another try is his to order."""
    scene = Scene(flat(policy("a", UnknownPolicy.HOLD, ONCE)))
    scene.retry("a")
    assert isinstance(scene.entries()[-1], NodeHeld)
    assert scene.are(a="HELD")
    scene.crash()
    assert scene.are(a="HELD")
    scene.order("a", Resolution.RETRY)
    scene.succeed("a")
    assert scene.state() is SagaState.SUCCEEDED


def test_progress_keeps_an_attempt_alive_and_is_there_for_the_next_one() -> None:
    """What a worker told last goes into the log with the end of its attempt, and so to whoever owns the saga then."""
    scene = Scene(flat(timed("a", heartbeat=3.0)))
    told = Pulse(1, scene.now + 2.0, Payload(json='"half"'))

    def turn() -> Turn:
        begun = Turn(scene.saga, 1, scene.now, lambda: 0.0, lambda *_: told)
        begun.saga.woken.append(0)
        return begun

    scene.now += 4.0
    alive = turn()
    alive.go_on(lambda *_: None)
    assert (alive.entries, alive.cancels, alive.timers) == ([], [], [(0, scene.now + 1.0)])
    ending = turn()
    ending.take(scene.result("a", given=failure(Disposition.RETRY)))
    stamped = ending.entries[0]
    assert isinstance(stamped.entry, AttemptEnded)
    assert stamped.entry.last_progress == told.details
    ending.go_on(lambda *_: None)
    scene.commit(ending)
    scene.wait()
    assert scene.invocations("a")[1].last_progress == told.details
