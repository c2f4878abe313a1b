"""Pivots and what can't be undone: no way back once it may have had its effect."""

from __future__ import annotations

import pytest

from sagaline_server.core.decide import Unwind
from sagaline_server.core.entries import NodeHeld, Resolution, SagaState, UnwindCause
from sagaline_server.core.graph import ACTION_RETRY, ActionNode, Graph, Irreversible, Node, RetryPolicy, UndoKind
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.graphs import ONCE, PATIENT, action, flat, graph, output_of, subsaga
from tests.unit.core.scene import OUTPUT, UNDO, Scene


def pivot(name: str, *after: str, retry: RetryPolicy = PATIENT) -> Node:
    return Node(name, ActionNode(f"do.{name}", undo=UndoKind.NONE, pivot=True, retry=retry), after)


def lasting(name: str, *after: str, retry: RetryPolicy = PATIENT, forward: bool = False) -> Node:
    """A node that can't be undone."""
    policy = Irreversible.FORWARD_ONLY if forward else Irreversible.HOLD
    return Node(name, ActionNode(f"do.{name}", undo=UndoKind.NONE, retry=retry, irreversible=policy), after)


def booked() -> Scene:
    """Reserve, pay (the pivot), confirm."""
    return Scene(flat(action("reserve"), pivot("pay", "reserve"), lasting("confirm", "pay")))


def test_before_the_pivot_a_saga_unwinds() -> None:
    scene = booked()
    scene.succeed("reserve")
    scene.fail("pay")
    assert scene.flying() == {"undo reserve"}


@pytest.mark.parametrize("passed", [False, True])
def test_no_request_turns_a_saga_whose_pivot_is_in_flight_or_has_succeeded(passed: bool) -> None:
    """The pivot decides; nobody else does from its start on."""
    scene = booked()
    scene.succeed("reserve", *(["pay"] if passed else []))
    refusal = scene.unwind().refusal
    assert refusal is not None
    assert refusal.code == "PIVOT_PASSED"
    assert not scene.take(Unwind(UnwindCause.DEADLINE)).entries
    assert scene.state() is SagaState.RUNNING


def test_what_comes_after_the_pivot_may_say_that_it_is_tried_without_bound() -> None:
    """Its attempts never run out, whatever the number; a bound is refused."""
    scene = Scene(flat(pivot("pay"), lasting("confirm", "pay", retry=PATIENT)))
    scene.succeed("pay")
    for _ in range(ACTION_RETRY.max_attempts + 3):
        scene.retry("confirm")
        scene.wait()
    assert scene.flying() == {"confirm"}
    bounded = graph(pivot("pay"), lasting("confirm", "pay", retry=RetryPolicy(max_attempts=7)))
    assert [problem.reason for problem in check_graph(bounded)] == ["BOUNDED_AFTER_PIVOT"]


def test_after_the_pivot_failures_are_tried_again_forward() -> None:
    """Whatever the worker says, and whatever the policy says."""
    scene = Scene(flat(pivot("pay"), lasting("confirm", "pay", retry=RetryPolicy(max_attempts=5, jitter=0.0))))
    scene.succeed("pay")
    for _ in range(8):
        scene.fail("confirm")
        assert scene.are(confirm="RETRYING")
        scene.wait()
    scene.succeed("confirm")
    assert scene.state() is SagaState.SUCCEEDED


def test_beside_a_pivot_in_flight_a_failure_waits_for_its_outcome() -> None:
    """It turns the saga only where the pivot fails, too."""
    look = action("look", undo=UndoKind.NOOP)
    scene = Scene(flat(action("reserve"), pivot("pay", "reserve"), look))
    scene.succeed("reserve")
    scene.fail("look")
    assert scene.are(look="RETRYING")
    scene.fail("pay")
    assert scene.state() is SagaState.UNWINDING


def test_a_pivot_whose_attempts_run_out_is_held() -> None:
    """It is neither undone nor presumed: an operator decides."""
    scene = Scene(flat(action("reserve"), pivot("pay", "reserve", retry=ONCE)))
    scene.succeed("reserve")
    scene.retry("pay")
    assert isinstance(scene.entries()[-1], NodeHeld)
    assert scene.saga.needs_operator
    scene.crash()
    scene.order("pay", Resolution.MARK_FAILED)
    assert scene.flying() == {"undo reserve"}


def test_inputs_that_can_not_be_had_after_the_pivot_hold_their_node() -> None:
    """To fail is not allowed, and to try again is no use."""
    confirm = lasting("confirm")
    body = ActionNode("do.confirm", inputs=(("x", output_of("pay", "nowhere")),), undo=UndoKind.NONE)
    scene = Scene(flat(pivot("pay"), Node(confirm.name, body)))
    scene.succeed("pay")
    assert scene.are(confirm="HELD")
    refusal = scene.order("confirm", Resolution.MARK_FAILED).refusal
    assert refusal is not None
    assert refusal.code == "PIVOT_PASSED"
    scene.order("confirm", Resolution.RETRY)
    assert scene.are(confirm="HELD")
    scene.order("confirm", Resolution.SUPPLY_OUTPUT, OUTPUT)
    assert scene.state() is SagaState.SUCCEEDED


def test_what_can_not_be_undone_holds_the_unwinding() -> None:
    """Rule 12: stuck until somebody has seen to it by hand; another try makes no sense."""
    scene = Scene(flat(action("a"), lasting("mail", "a"), action("b", "mail")))
    scene.succeed("a", "mail")
    scene.fail("b")
    assert scene.state() is SagaState.STUCK
    refusal = scene.order("mail", Resolution.RETRY).refusal
    assert refusal is not None
    assert refusal.code == "NODE_NOT_RESOLVABLE"
    scene.order("mail", Resolution.MARK_UNDONE)
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_what_can_not_be_undone_can_make_the_saga_go_on_forward() -> None:
    """As after a pivot, without a pivot's checks."""
    scene = Scene(flat(action("a"), lasting("mail", "a", forward=True), action("b", "mail")))
    scene.succeed("a", "mail")
    scene.fail("b")
    assert scene.are(b="RETRYING")
    scene.wait()
    scene.succeed("b")
    assert scene.state() is SagaState.SUCCEEDED


@pytest.mark.parametrize(
    ("wrong", "reason", "node"),
    [
        (graph(pivot("a"), pivot("b", "a")), "SECOND_PIVOT", "b"),
        (graph(pivot("a"), subsaga("s", pivot("b"), after=("a",))), "SECOND_PIVOT", "s/b"),
        (graph(pivot("a"), action("b", "a")), "UNDO_AFTER_PIVOT", "b"),
        (graph(pivot("a"), action("b")), "UNDO_AFTER_PIVOT", "b"),
        (graph(pivot("a"), lasting("b", "a", retry=ONCE)), "BOUNDED_AFTER_PIVOT", "b"),
        (graph(Node("a", ActionNode("do.a", pivot=True))), "NOT_ALLOWED", "a"),
        (
            graph(Node("a", ActionNode("do.a", irreversible=Irreversible.FORWARD_ONLY))),
            "NOT_ALLOWED",
            "a",
        ),
    ],
)
def test_graphs_whose_way_back_is_broken_are_refused(wrong: Graph, reason: str, node: str) -> None:
    """Before anything is written."""
    problems = check_graph(wrong)
    assert [(problem.reason, problem.node) for problem in problems] == [(reason, node)]


def test_what_only_reads_may_stand_anywhere() -> None:
    """It has no effect, so it needs no way back."""
    assert not check_graph(graph(action("a", undo=UndoKind.NOOP, retry=ONCE), pivot("b"), lasting("c", "b")))


def test_what_never_had_its_inputs_is_undone_without_them() -> None:
    """Rule 8: an operator supplied its output, so it counts as done; its undo has null for what could not be had."""
    lasts = lasting("x", forward=True)
    scene = Scene(flat(action("a"), lasts, action("b", given=output_of("a", "zone"))))
    scene.succeed("a", output=Payload(json="{}"))
    assert scene.are(b="HELD")
    scene.order("b", Resolution.SUPPLY_OUTPUT, OUTPUT)
    scene.fail("x")
    assert scene.flying() == {"undo b"}
    (sent,) = scene.invocations("b", UNDO)
    assert (sent.inputs, sent.action_output) == ((("given", NULL),), OUTPUT)
    scene.undo("b", "a")
    assert scene.state() is SagaState.UNWOUND
