"""What becomes of a node when its attempts end in each way, in each order (rules 4, 8, 10 and 11)."""

from __future__ import annotations

import pytest

from sagaline_server.core.decide import CancelReason, Result, ResultFate
from sagaline_server.core.entries import AttemptEnded, Kind, NodeFailed, NodeSucceeded, Outcome, SagaState
from sagaline_server.core.graph import RetryPolicy
from sagaline_server.core.values import Disposition, FailureSource, Payload
from tests.unit.core.graphs import ONCE, action, beside, chain, flat, join
from tests.unit.core.scene import OUTPUT, UNDO, Scene, failure

OTHER = Payload(json='"other"')


def test_failed_at_once_is_definite_and_needs_no_undo() -> None:
    """Rule 4, rule 8: a worker's word of no effect, with every attempt answered, settles the node."""
    scene = Scene(beside("a"))
    scene.fail("a")
    assert scene.are(a="FAILED")
    assert scene.state() is SagaState.UNWOUND


def test_failed_after_an_answered_attempt_is_definite() -> None:
    """Rule 4: FAILED speaks for the earlier attempts too, once they have all been answered."""
    scene = Scene(beside("a"))
    scene.retry("a")
    scene.wait()
    scene.fail("a")
    assert scene.are(a="FAILED")


def test_failed_after_an_unanswered_attempt_is_in_doubt_and_undone_as_unknown() -> None:
    """Rule 4, rule 8: an attempt that was never answered may have had an effect; the undo gets no output."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.fail("a")
    assert scene.are(a="UNDOING")
    assert any(isinstance(e, NodeFailed) and e.effect_unknown for e in scene.entries())
    (undo,) = scene.invocations("a", UNDO)
    assert undo.action_output is None
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_failed_does_not_speak_for_an_attempt_that_ran_beside_it() -> None:
    """Rule 4: attempt 1, given up, ends with its effect unknown after 2 had started: 2's word can't cover it."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.retry("a", attempt=1)
    assert scene.are(a="RUNNING")
    scene.fail("a", attempt=2)
    assert scene.are(a="UNDOING")


def test_an_attempt_after_that_speaks_for_all_again() -> None:
    """Rule 4: what started after every earlier attempt had ended knows of them all."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.retry("a", attempt=1)
    scene.retry("a", attempt=2)
    scene.wait()
    scene.fail("a", attempt=3)
    assert scene.are(a="FAILED")


def test_failed_of_an_attempt_that_was_given_up_decides_when_it_is_the_last() -> None:
    """Rule 4: a late answer is worth as much as one in time."""
    scene = Scene(beside("a"))
    scene.lose("a")
    assert scene.are(a="RETRYING")
    assert scene.fail("a", attempt=1).fate is ResultFate.RECORDED
    assert scene.are(a="FAILED")


def test_failed_of_an_earlier_attempt_decides_nothing_while_a_later_one_is_out() -> None:
    """Rule 4: the later attempt may have an effect yet."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    decision = scene.fail("a", attempt=1)
    assert decision.fate is ResultFate.SUPERSEDED
    assert scene.are(a="RUNNING")
    scene.fail("a", attempt=2)
    assert scene.are(a="FAILED")


def test_failed_late_with_another_attempt_unanswered_is_tried_again() -> None:
    """Rule 4, rule 8: nothing is in flight, so there is time to ask again until the answer is definite."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.lose("a")
    assert scene.fail("a", attempt=2).fate is ResultFate.SUPERSEDED
    assert scene.are(a="RETRYING")
    scene.wait()
    scene.succeed("a", attempt=3)
    assert scene.state() is SagaState.SUCCEEDED


def test_failed_late_with_another_attempt_unanswered_does_not_end_the_doubt() -> None:
    """Rule 4, rule 8: given up, and still the first attempt may have had an effect: it is undone as unknown."""
    scene = Scene(flat(action("a", retry=RetryPolicy(max_attempts=2))))
    scene.lose("a")
    scene.wait()
    scene.room = False
    scene.lose("a")
    scene.fail("a", attempt=2)
    assert scene.are(a="IN_DOUBT")
    scene.room = True
    scene.place_all()
    assert scene.flying() == {"undo a"}


def test_exhausted_retries_are_unknown() -> None:
    """Rule 4: attempts that ran out leave the node in doubt, whatever the worker said of each."""
    scene = Scene(flat(action("a", retry=RetryPolicy(max_attempts=2))))
    scene.retry("a")
    scene.wait()
    scene.retry("a")
    assert scene.are(a="UNDOING")
    assert scene.state() is SagaState.UNWINDING


def test_a_lost_worker_is_unknown() -> None:
    """Rule 4: nobody says FAILED for a worker that is gone."""
    scene = Scene(flat(action("a", retry=ONCE)))
    scene.lose("a")
    assert scene.are(a="UNDOING")
    assert scene.saga.failure is not None
    assert scene.saga.failure.source is FailureSource.WORKER_LOST


def test_a_definite_answer_that_comes_late_ends_the_doubt() -> None:
    """Rule 8: in doubt and waiting for its undo, the node is still decided by an answer."""
    scene = Scene(flat(action("a", retry=ONCE)))
    scene.room = False
    scene.lose("a")
    assert scene.are(a="IN_DOUBT")
    scene.fail("a", attempt=1)
    assert scene.are(a="FAILED")
    assert scene.state() is SagaState.UNWOUND


def test_success_that_comes_late_gives_the_undo_its_output() -> None:
    """Rule 8: once the answer is known, the node is undone with it."""
    scene = Scene(flat(action("a", retry=ONCE)))
    scene.room = False
    scene.lose("a")
    scene.succeed("a", attempt=1, output=OTHER)
    assert scene.are(a="SUCCEEDED")
    scene.room = True
    scene.place_all()
    assert scene.invocations("a", UNDO)[0].action_output == OTHER


def test_success_of_an_attempt_given_up_decides_and_calls_back_the_later_one() -> None:
    """Rule 10: results are matched by attempt, and any attempt's success is the node's."""
    scene = Scene(chain("a", "b"))
    scene.lose("a")
    scene.wait()
    decision = scene.succeed("a", attempt=1, output=OTHER)
    assert decision.fate is ResultFate.RECORDED
    assert [(c.attempt, c.reason) for c in scene.cancels] == [(2, CancelReason.SUPERSEDED)]
    assert scene.are(a="SUCCEEDED", b="RUNNING")


def test_a_later_attempt_never_changes_a_decided_output() -> None:
    """The output is immutable once logged: the second success is recorded as late, and changes nothing."""
    scene = Scene(chain("a", "b"))
    scene.lose("a")
    scene.wait()
    scene.succeed("a", attempt=1, output=OUTPUT)
    decision = scene.succeed("a", attempt=2, output=OTHER)
    assert decision.fate is ResultFate.SUPERSEDED
    assert scene.saga.outputs[0] == OUTPUT
    assert scene.status("a").name == "SUCCEEDED"


def test_a_duplicate_changes_nothing() -> None:
    """The same result twice, before and after the saga has gone on, is recognised."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    length = len(scene.log)
    assert scene.succeed("a").fate is ResultFate.DUPLICATE
    assert scene.fail("a").fate is ResultFate.DUPLICATE
    assert len(scene.log) == length
    scene.succeed("b")
    assert scene.succeed("a").fate is ResultFate.SUPERSEDED
    assert scene.state() is SagaState.SUCCEEDED


@pytest.mark.parametrize(("name", "attempt"), [("a", 2), ("a", -1), ("nobody", 1), ("b", 1)])
def test_a_result_of_nothing_is_not_found(name: str, attempt: int) -> None:
    """A result for an unknown node, or for an attempt that was never started, has no place in the log."""
    scene = Scene(chain("a", "b"))
    decision = scene.take(Result(name, Kind.ACTION, attempt, OUTPUT))
    assert decision.fate is ResultFate.NOT_FOUND
    assert not decision.entries


def test_a_rejection_costs_no_attempt() -> None:
    """Rule 4: a node with one attempt may be rejected often, and then succeed."""
    scene = Scene(flat(action("a", retry=ONCE)))
    for _ in range(5):
        scene.reject("a")
        assert scene.are(a="PENDING")
        scene.wait()
    scene.succeed("a")
    assert scene.state() is SagaState.SUCCEEDED


def test_rejections_back_off() -> None:
    """Each rejection in a row doubles the pause, up to five seconds."""
    scene = Scene(beside("a"))
    delays = []
    for _ in range(9):
        scene.reject("a")
        delays.append(round(scene.timers[0] - scene.now, 3))
        scene.wait()
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0]


def test_rejected_first_while_unwinding_is_abandoned() -> None:
    """Rule 4, rule 6: it never started, and now it never will."""
    scene = Scene(beside("a", "b"))
    scene.fail("a")
    assert scene.are(b="RUNNING")
    scene.reject("b")
    assert scene.are(b="ABANDONED")
    assert scene.state() is SagaState.UNWOUND


def test_rejected_after_a_sent_attempt_is_still_in_doubt() -> None:
    """Rule 8: the earlier attempt may have had an effect, so the action is sent again, also while unwinding."""
    scene = Scene(beside("a", "b"))
    scene.retry("b")
    scene.wait()
    scene.fail("a")
    scene.reject("b")
    assert scene.are(b="RETRYING")
    scene.wait()
    assert scene.flying() == {"b"}


def test_in_doubt_nodes_are_sent_again_while_unwinding() -> None:
    """Rule 8: the action is sent again until the answer is definite, then undone if it had effect."""
    scene = Scene(beside("a", "b"))
    scene.fail("a")
    scene.retry("b")
    scene.wait()
    assert [sent.attempt for sent in scene.invocations("b")] == [1, 2]
    scene.succeed("b")
    assert scene.flying() == {"undo b"}


def test_an_undo_is_not_sent_while_an_action_attempt_is_in_flight() -> None:
    """Rule 8: attempt 1's success came, attempt 2 is still with a worker that is heard from."""
    scene = Scene(beside("a", "b"))
    scene.lose("b")
    scene.wait()
    scene.succeed("b", attempt=1)
    scene.fail("a")
    assert scene.are(b="SUCCEEDED")
    assert scene.flying() == {"b"}
    scene.retry("b", attempt=2)
    assert scene.flying() == {"undo b"}


@pytest.mark.parametrize("end", ["lose", "reject", "fail", "succeed"])
def test_every_end_of_that_attempt_lets_the_undo_go(end: str) -> None:
    """Rule 8: however the superseded attempt ends, the undo follows."""
    scene = Scene(beside("a", "b"))
    scene.lose("b")
    scene.wait()
    scene.succeed("b", attempt=1)
    scene.fail("a")
    getattr(scene, end)("b")
    assert scene.flying() == {"undo b"}


def test_late_answers_after_the_undo_are_recorded_and_change_nothing() -> None:
    """Rule 11: the log keeps what came, and the node stays undone."""
    scene = Scene(beside("a", "b"))
    scene.lose("a")
    scene.wait()
    scene.succeed("a", attempt=2)
    scene.fail("b")
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND
    decision = scene.succeed("a", attempt=1)
    assert decision.fate is ResultFate.SUPERSEDED
    assert scene.are(a="UNDONE")


def test_a_late_success_while_the_node_is_being_undone() -> None:
    """Rule 11: an answer that comes while the undo is out is noted as late."""
    scene = Scene(flat(action("a", retry=ONCE), action("b")))
    scene.lose("a")
    assert scene.are(a="UNDOING", b="RUNNING")
    scene.succeed("a", attempt=1)
    last = scene.entries()[-1]
    assert isinstance(last, AttemptEnded)
    assert last.answered_late
    assert last.outcome is Outcome.SUCCEEDED
    assert scene.are(a="UNDOING")


def test_held_waits_for_an_operator_and_an_earlier_attempt_may_still_decide() -> None:
    """A worker that does not know asks for a person; a late success of another attempt helps as well."""
    scene = Scene(beside("a"))
    scene.lose("a")
    scene.wait()
    scene.hold("a")
    assert scene.are(a="HELD")
    assert scene.saga.needs_operator
    scene.succeed("a", attempt=1)
    assert scene.state() is SagaState.SUCCEEDED


def test_the_key_of_inputs_never_changes() -> None:
    """Rule 10: every attempt is sent the same inputs, and the undo gets them too."""
    scene = Scene(join())
    scene.retry("a")
    scene.wait()
    scene.succeed("a", "b")
    scene.fail("c")
    sent = [*scene.invocations("a"), *scene.invocations("a", UNDO)]
    assert len({invocation.inputs for invocation in sent}) == 1
    assert sent[-1].action_output == OUTPUT
    assert sent[-1].saga_failure is not None


def test_fast_path_success_and_start_in_one_append() -> None:
    """Rule 3: [succeeded(a), started(b)] is one turn, in that order."""
    scene = Scene(chain("a", "b"))
    length = len(scene.log)
    scene.succeed("a")
    assert [type(e).__name__ for e in scene.entries()[length:]] == ["NodeSucceeded", "AttemptStarted"]
    assert isinstance(scene.entries()[length], NodeSucceeded)


def test_the_turn_cancels_what_is_in_flight_and_waits_for_it() -> None:
    """Rule 6: running siblings are told, and waited for all the same."""
    scene = Scene(beside("a", "b", "c"))
    scene.fail("b")
    assert {(c.node, c.reason) for c in scene.cancels} == {
        (0, CancelReason.SAGA_UNWINDING),
        (2, CancelReason.SAGA_UNWINDING),
    }
    assert scene.flying() == {"a", "c"}
    scene.fail("c")
    assert len(scene.cancels) == 2, "told once"
    scene.retry("a", failed=failure(Disposition.RETRY, "sagaline.Cancelled"))
    assert scene.flying() == set()
    scene.wait()
    assert scene.flying() == {"a"}
