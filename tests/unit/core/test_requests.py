"""What clients and operators may ask of a saga, and when it is refused."""

from __future__ import annotations

import pytest

from sagaline_server.core.decide import NewOwner, Unwind
from sagaline_server.core.entries import OperatorResolved, OwnerChange, OwnerChanged, Resolution, SagaState, UnwindCause
from sagaline_server.core.graph import RetryPolicy
from sagaline_server.core.values import FailureSource, Payload
from tests.unit.core.graphs import action, beside, chain, constant, flat
from tests.unit.core.scene import UNDO, Scene

VALUE = Payload(json="42")


def held() -> Scene:
    scene = Scene(chain("a", "b"))
    scene.hold("a")
    return scene


def stuck() -> Scene:
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.undo_fails("a")
    return scene


def test_unwinding_twice_is_unwinding_once() -> None:
    """The second request is accepted and changes nothing; also after the end."""
    scene = Scene(chain("a", "b"))
    scene.unwind()
    decision = scene.unwind()
    assert decision.refusal is None
    assert not decision.entries
    scene.fail("a")
    assert scene.state() is SagaState.UNWOUND
    assert scene.unwind().refusal is None


def test_a_saga_that_has_succeeded_can_not_be_unwound() -> None:
    """What has ended stays as it is."""
    scene = Scene(beside("a"))
    scene.succeed("a")
    refusal = scene.unwind().refusal
    assert refusal is not None
    assert refusal.code == "SAGA_FINISHED"


def test_a_deadline_is_a_request_to_unwind_with_its_own_reason() -> None:
    """The failure of the saga says that time ran out."""
    scene = Scene(beside("a"))
    scene.take(Unwind(UnwindCause.DEADLINE))
    assert scene.saga.failure is not None
    assert (scene.saga.failure.type, scene.saga.failure.source) == ("sagaline.DeadlinePassed", FailureSource.TIMEOUT)


def test_a_held_node_tried_again() -> None:
    """Order RETRY: the action is sent at once."""
    scene = held()
    scene.order("a", Resolution.RETRY)
    assert scene.flying() == {"a"}
    scene.succeed("a")
    assert scene.flying() == {"b"}


def test_a_held_node_marked_failed() -> None:
    """Order MARK_FAILED: it had no effect, and the saga unwinds with the operator's reason."""
    scene = held()
    scene.order("a", Resolution.MARK_FAILED)
    assert scene.are(a="FAILED", b="ABANDONED")
    assert scene.state() is SagaState.UNWOUND
    assert scene.saga.failure is not None
    assert scene.saga.failure.source is FailureSource.OPERATOR


def test_a_held_node_given_its_output() -> None:
    """Order SUPPLY_OUTPUT: the saga goes on as if the action had said so."""
    scene = held()
    scene.order("a", Resolution.SUPPLY_OUTPUT, VALUE)
    assert scene.saga.outputs[0] == VALUE
    assert scene.flying() == {"b"}


def test_supply_output_without_an_output_is_refused() -> None:
    """An order that lacks its value is the client's mistake, not a crash."""
    scene = held()
    refusal = scene.order("a", Resolution.SUPPLY_OUTPUT).refusal
    assert refusal is not None
    assert refusal.code == "OUTPUT_MISSING"
    assert scene.are(a="HELD")


@pytest.mark.parametrize("resolution", [Resolution.MARK_FAILED, Resolution.SUPPLY_OUTPUT])
def test_a_node_that_is_being_retried_can_be_decided(resolution: Resolution) -> None:
    """An operator need not wait for attempts to run out."""
    scene = Scene(beside("a"))
    scene.retry("a")
    decision = scene.order("a", resolution, VALUE if resolution is Resolution.SUPPLY_OUTPUT else None)
    assert decision.refusal is None
    assert scene.saga.finished is not None


@pytest.mark.parametrize("resolution", [Resolution.MARK_FAILED, Resolution.SUPPLY_OUTPUT, Resolution.RETRY])
def test_held_while_unwinding(resolution: Resolution) -> None:
    """Rule 8: a held node is in doubt; unwinding waits for the order and then does what it asks for."""
    scene = Scene(beside("a", "b"))
    scene.hold("a")
    scene.fail("b")
    assert scene.state() is SagaState.UNWINDING
    assert scene.saga.needs_operator
    scene.order("a", resolution, VALUE if resolution is Resolution.SUPPLY_OUTPUT else None)
    expected = {Resolution.MARK_FAILED: set(), Resolution.SUPPLY_OUTPUT: {"undo a"}, Resolution.RETRY: {"a"}}
    assert scene.flying() == expected[resolution]


def test_a_stuck_node_tried_again() -> None:
    """Rule 12: RETRY sends the undo once more."""
    scene = stuck()
    scene.order("a", Resolution.RETRY)
    assert scene.flying() == {"undo a"}
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_a_stuck_node_marked_undone() -> None:
    """Rule 12: done by hand, with a note that is logged."""
    scene = stuck()
    scene.order("a", Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.UNWOUND
    assert scene.entries()[-2].reason == "because"  # type: ignore[union-attr]


def test_an_undo_that_is_being_retried_can_be_marked_undone() -> None:
    """Rule 12: also before it has failed for good."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.retry("a", UNDO)
    scene.order("a", Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.UNWOUND


@pytest.mark.parametrize("resolution", list(Resolution))
def test_orders_that_do_not_fit_the_node_are_refused(resolution: Resolution) -> None:
    """A running node needs nobody's decision."""
    scene = Scene(chain("a", "b"))
    refusal = scene.order("a", resolution, VALUE).refusal
    assert refusal is not None
    assert refusal.code == "NODE_NOT_RESOLVABLE"
    assert "RUNNING" in refusal.message


def test_a_decision_on_what_has_changed_since_is_refused() -> None:
    """Invariant 28: another operator's retry came in between, and failed for another reason."""
    scene = stuck()
    seen = scene.saga.seq
    scene.order("a", Resolution.RETRY)
    scene.undo_fails("a")
    refusal = scene.order("a", Resolution.MARK_UNDONE, seen=seen).refusal
    assert refusal is not None
    assert refusal.code == "SAGA_CHANGED"
    assert str(scene.saga.seq) in refusal.message
    scene.order("a", Resolution.MARK_UNDONE, seen=scene.saga.seq)
    assert scene.state() is SagaState.UNWOUND


def test_a_decision_names_in_the_log_what_it_rests_on() -> None:
    """Invariant 28: and an operator who says nothing of that decides about the node as it stands."""
    scene = stuck()
    seen = scene.saga.seq
    scene.order("a", Resolution.MARK_UNDONE, seen=seen)
    entry = scene.entries()[-2]
    assert isinstance(entry, OperatorResolved)
    assert entry.expected_log_length == seen


@pytest.mark.parametrize("name", ["nobody", "k"])
def test_orders_about_no_action_are_refused(name: str) -> None:
    """Neither an unknown node nor a constant can be resolved."""
    scene = Scene(flat(constant("k"), action("a")))
    refusal = scene.order(name, Resolution.RETRY).refusal
    assert refusal is not None
    assert refusal.code == "NODE_NOT_FOUND"


def test_orders_after_the_end_are_refused() -> None:
    """What has ended stays as it is."""
    scene = Scene(beside("a"))
    scene.fail("a")
    refusal = scene.order("a", Resolution.RETRY).refusal
    assert refusal is not None
    assert refusal.code == "SAGA_FINISHED"


def test_a_new_owner_says_so_first() -> None:
    """The log tells who owned the saga, and how it came to be."""
    scene = Scene(beside("a"))
    scene.take(NewOwner("sec-9", 77, OwnerChange.HANDED_OFF, "sec-1"))
    assert scene.entries()[-1] == OwnerChanged("sec-9", 77, OwnerChange.HANDED_OFF, "sec-1")


def test_a_new_owner_of_an_ended_saga_writes_nothing() -> None:
    """Rule 9: nothing follows saga_finished."""
    scene = Scene(beside("a"))
    scene.succeed("a")
    assert not scene.take(NewOwner("sec-9", 77, OwnerChange.ADOPTED)).entries


def test_an_exhausted_undo_is_resolved_like_any_other() -> None:
    """Rule 12: stuck by policy or by the worker's word, the orders are the same."""
    scene = Scene(flat(action("a", undo_retry=RetryPolicy(max_attempts=1)), action("b", "a")))
    scene.succeed("a")
    scene.fail("b")
    scene.retry("a", UNDO)
    assert scene.state() is SagaState.STUCK
    scene.order("a", Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.UNWOUND
