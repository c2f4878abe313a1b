"""How sagas unwind: order, several failures at once, branches that get stuck (rules 6, 7, 8 and 12)."""

from __future__ import annotations

import itertools

import pytest

from sagaline_server.core.entries import NodeUndone, Resolution, SagaState, UndoFailed, UndoneHow
from sagaline_server.core.graph import RetryPolicy, UndoKind
from sagaline_server.core.transitions import NodeStatus
from tests.unit.core.graphs import action, beside, chain, constant, flat, join, output_of, subsaga
from tests.unit.core.scene import UNDO, Scene, failure


def test_a_chain_is_undone_in_reverse() -> None:
    """Rule 7: a node is undone only when everything that depends on it is settled."""
    scene = Scene(chain("a", "b", "c", "d"))
    scene.succeed("a", "b", "c")
    scene.fail("d")
    for name in ("c", "b", "a"):
        assert scene.flying() == {f"undo {name}"}
        scene.undo(name)
    assert scene.state() is SagaState.UNWOUND


def test_a_parent_waits_for_its_last_child() -> None:
    """Rule 7: of a fan-out, the parent's undo goes when the last child is undone, whichever that is."""
    for order in itertools.permutations("bcd"):
        scene = Scene(flat(action("a"), action("b", "a"), action("c", "a"), action("d", "a"), action("e", *"bcd")))
        scene.succeed(*"abcd")
        scene.fail("e")
        for name in order:
            assert "undo a" not in scene.flying()
            scene.undo(name)
        assert scene.flying() == {"undo a"}


def test_independent_branches_are_undone_in_parallel() -> None:
    """Rule 7: what does not depend on each other is undone at the same time."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    assert scene.flying() == {"undo a", "undo b"}


@pytest.mark.parametrize("late", ["succeed", "fail"])
def test_failing_beside_a_running_sibling(late: str) -> None:
    """Rules 6, 7 and 8: undo goes on in one branch while an action runs to its end in the other; then it follows."""
    scene = Scene(flat(action("a"), action("b", "a"), action("x"), action("y", "x"), action("z", "b", "y")))
    scene.succeed("a", "x")
    scene.fail("b")
    assert scene.flying() == {"undo a", "y"}
    scene.undo("a")
    assert scene.state() is SagaState.UNWINDING
    getattr(scene, late)("y")
    assert scene.flying() == ({"undo y"} if late == "succeed" else {"undo x"})
    assert scene.are(z="ABANDONED", a="UNDONE")


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("batched", [True, False])
def test_nodes_that_fail_at_once(count: int, *, batched: bool) -> None:
    """Rule 6: any number of nodes may fail, in one turn or in several, in any order; the first gives the reason."""
    for order in itertools.permutations("abc"[:count]):
        scene = Scene(flat(action("a"), action("b"), action("c"), action("d", "a", "b", "c")))
        scene.succeed(*"abc"[count:])
        if batched:
            scene.turn(*[scene.result(name, given=failure()) for name in order])
        else:
            scene.fail(*order)
        assert [scene.status(name) for name in order] == [NodeStatus.FAILED] * count
        assert scene.saga.failed_node == scene.topology.index[order[0]]
        scene.undo(*"abc"[count:])
        assert scene.state() is SagaState.UNWOUND


def test_nothing_new_starts_after_the_turn() -> None:
    """Rule 6: also where a node's parents succeed only then."""
    scene = Scene(flat(action("a"), action("b"), action("c", "b")))
    scene.fail("a")
    scene.succeed("b")
    assert scene.are(c="ABANDONED")
    assert scene.flying() == {"undo b"}


def test_a_request_to_unwind_turns_the_saga() -> None:
    """Rule 6: nodes in flight are told and waited for; nothing is presumed of them."""
    scene = Scene(chain("a", "b", "c"))
    scene.succeed("a")
    scene.unwind()
    assert scene.flying() == {"b"}
    scene.succeed("b")
    scene.undo("b", "a")
    assert scene.state() is SagaState.UNWOUND
    assert scene.saga.failed_node is None
    assert scene.saga.failure is not None
    assert scene.saga.failure.type == "sagaline.UnwindRequested"


def test_a_request_to_unwind_that_comes_before_anything_ran() -> None:
    """Rule 6, rule 8: there is nothing to undo, and the saga ends."""
    scene = Scene(chain("a", "b"), paused=True)
    scene.unwind()
    assert scene.are(a="ABANDONED", b="ABANDONED")
    assert scene.state() is SagaState.UNWOUND


def test_a_noop_undo_is_no_invocation() -> None:
    """A node with nothing to undo is undone at once when its turn comes, and not before."""
    scene = Scene(flat(action("a"), action("b", "a", undo=UndoKind.NOOP), action("c", "b")))
    scene.succeed("a", "b")
    scene.fail("c")
    assert scene.are(b="UNDONE")
    assert scene.flying() == {"undo a"}
    assert [e.how for e in scene.entries() if isinstance(e, NodeUndone)] == [UndoneHow.NOOP]


def test_constants_and_subsagas_are_undone_by_themselves() -> None:
    """Instant nodes take part in the order, and need nobody."""
    inner = subsaga("sub", constant("k"), action("x", x=output_of("k")), after=("a",))
    scene = Scene(flat(action("a"), inner, action("z", "sub")))
    scene.succeed("a", "sub/x")
    assert scene.are(sub="SUCCEEDED", sub__k="SUCCEEDED")
    scene.fail("z")
    assert scene.are(sub="UNDONE", sub__k="SUCCEEDED")
    assert scene.flying() == {"undo sub/x"}
    scene.undo("sub/x")
    assert scene.are(sub__k="UNDONE")
    assert scene.flying() == {"undo a"}


def test_inside_a_subsaga_nodes_are_undone_in_reverse_too() -> None:
    """Rule 7 holds through the borders of subsagas: the node before it waits for all that is inside."""
    inner = subsaga("sub", action("x"), action("y", "x"), after=("a",))
    scene = Scene(flat(action("a"), inner, action("z", "sub")))
    scene.succeed("a", "sub/x", "sub/y")
    scene.fail("z")
    for name in ("sub/y", "sub/x", "a"):
        assert scene.flying() == {f"undo {name}"}
        scene.undo(name)
    assert scene.state() is SagaState.UNWOUND


# ---- stuck


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_two_undo_failures_in_either_order(order: str) -> None:
    """Rule 12: both are recorded, the saga is stuck, resumes as such, and is resolved node by node."""
    scene = Scene(join())
    scene.succeed("a", "b")
    scene.fail("c")
    scene.undo_fails(*order)
    assert scene.are(a="UNDO_FAILED", b="UNDO_FAILED")
    assert scene.state() is SagaState.STUCK
    scene.crash()
    assert scene.state() is SagaState.STUCK
    assert scene.flying() == set()
    scene.order(order[0], Resolution.RETRY)
    assert scene.state() is SagaState.STUCK
    scene.undo(order[0])
    scene.order(order[1], Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.UNWOUND


def test_other_branches_go_on_unwinding_past_a_stuck_node() -> None:
    """Rule 12: all that is no ancestor of the stuck node is undone; its ancestors wait for the operator."""
    scene = Scene(
        flat(action("a"), action("b", "a"), action("x"), action("y", "x"), action("z", "b", "y"), action("free"))
    )
    scene.succeed("a", "x", "b", "y", "free")
    scene.fail("z")
    scene.undo_fails("b")
    assert scene.state() is SagaState.STUCK
    scene.undo("y", "x", "free")
    assert scene.are(a="SUCCEEDED", b="UNDO_FAILED", x="UNDONE", y="UNDONE", free="UNDONE")
    assert scene.flying() == set()
    scene.order("b", Resolution.RETRY)
    assert scene.state() is SagaState.UNWINDING
    scene.undo("b", "a")
    assert scene.state() is SagaState.UNWOUND


def test_an_undo_that_runs_out_of_attempts_is_stuck() -> None:
    """Rule 12: told to give up after two attempts, it does; an order starts the count anew."""
    scene = Scene(flat(action("a", undo_retry=RetryPolicy(max_attempts=2)), action("b", "a")))
    scene.succeed("a")
    scene.fail("b")
    for _ in range(2):
        scene.retry("a", UNDO)
        scene.wait()
        scene.retry("a", UNDO)
        assert scene.state() is SagaState.STUCK
        scene.order("a", Resolution.RETRY)
        assert scene.flying() == {"undo a"}
    assert scene.saga.run(0, UNDO).attempt == 5


def test_undo_is_retried_without_bound() -> None:
    """Unless told otherwise an undo is tried for ever, its pauses capped."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    for _ in range(50):
        scene.retry("a", UNDO)
        assert scene.timers[0] - scene.now <= 8.0
        scene.wait()
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_a_late_success_of_an_undo_frees_a_stuck_saga() -> None:
    """Rule 12: the attempt whose worker was lost did it after all."""
    policy = RetryPolicy(max_attempts=1)
    scene = Scene(flat(action("a", undo_retry=policy), action("b", "a")))
    scene.succeed("a")
    scene.fail("b")
    scene.lose("a", UNDO)
    assert scene.state() is SagaState.STUCK
    scene.undo("a", attempt=1)
    assert scene.state() is SagaState.UNWOUND


def test_a_late_success_of_an_undo_calls_back_the_later_attempt() -> None:
    """The node is undone by whichever attempt; the other is told to stop, and its answer changes nothing."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.lose("a", UNDO)
    scene.wait()
    scene.undo("a", attempt=1)
    assert scene.cancels[-1].attempt == 2
    assert scene.flying() == set()
    length = len(scene.log)
    scene.undo("a", attempt=2)
    assert len(scene.log) == length
    assert scene.state() is SagaState.UNWOUND


def test_a_late_success_in_the_turn_that_starts_another_undo_attempt() -> None:
    """What a turn has announced is sent, with its attempt, although the node is undone by then; it does no harm."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.lose("a", UNDO)
    scene.room = False
    scene.wait()
    scene.turn(scene.result("a", UNDO, attempt=1), place=list(scene.unplaced))
    assert scene.state() is SagaState.UNWOUND
    assert [sent.attempt for sent in scene.invocations("a", UNDO)] == [1, 2]


def test_a_rejected_undo_is_offered_again() -> None:
    """Rule 4: a rejection costs an undo no attempt either."""
    scene = Scene(flat(action("a", undo_retry=RetryPolicy(max_attempts=1)), action("b", "a")))
    scene.succeed("a")
    scene.fail("b")
    for _ in range(3):
        scene.reject("a", UNDO)
        assert scene.are(a="UNDO_RETRYING")
        scene.wait()
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_stuck_is_a_matter_of_the_log() -> None:
    """Rule 12: the entry names node, attempt and reason."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.undo_fails("a")
    last = scene.entries()[-1]
    assert isinstance(last, UndoFailed)
    assert (last.node, last.attempt, last.failure.type) == ("a", 1, "test.Trouble")


def test_everything_can_be_undone_whichever_node_fails() -> None:
    """Rules 7 and 8: of a graph with every shape in it, each node in turn fails, and nothing is left."""
    graph = flat(
        action("a"),
        action("b", "a"),
        subsaga("s", action("x"), action("y", "x"), after=("a",)),
        action("d", "b", "s"),
        action("e"),
    )
    actions = [node.name for node in graph.nodes if node.action is not None]
    for culprit in actions:
        scene = Scene(graph)
        while scene.saga.finished is None:
            name = min(scene.flying())
            if name.startswith("undo "):
                scene.undo(name.removeprefix("undo "))
            elif name == culprit:
                scene.fail(name)
            else:
                scene.succeed(name)
        assert scene.state() is SagaState.UNWOUND
        assert scene.status(culprit) is NodeStatus.FAILED


def test_beside_nodes_settle_one_by_one() -> None:
    """Nodes without a common child are undone as soon as the saga turns."""
    scene = Scene(beside("a", "b", "c"))
    scene.succeed("a", "b")
    scene.fail("c")
    assert scene.flying() == {"undo a", "undo b"}
