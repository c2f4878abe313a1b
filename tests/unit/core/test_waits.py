"""Nodes that wait for a time or a signal, and sagas that start later."""

from __future__ import annotations

from hypothesis import given

from sagaline_server.core.digest import graph_digest, saga_digest
from sagaline_server.core.entries import NodeFailed, NodeSucceeded, SagaCreated, SagaState
from sagaline_server.core.graph import ActionNode, DelayNode, Node, SagaSpec, SignalNode, UndoKind
from sagaline_server.core.turn import Turn
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.driver import DIGEST, empty, fold, snapshot
from tests.unit.core.graphs import action, beside, flat, flatten_valid, graph, output_of
from tests.unit.core.scene import Scene
from tests.unit.core.strategies import GRAPHS, SEEDS

YES = Payload(json='{"yes":true}')


def delay(name: str, seconds: float, *after: str) -> Node:
    return Node(name, DelayNode(seconds), after)


def wait(name: str, *after: str, signal: str = "", timeout: float | None = None) -> Node:
    return Node(name, SignalNode(signal, timeout), after)


def test_a_delay_counts_from_when_its_parents_have_succeeded() -> None:
    scene = Scene(flat(action("a"), delay("pause", 10.0, "a"), action("b", "pause")))
    scene.advance(50.0)
    scene.succeed("a")
    scene.advance(9.9)
    assert scene.flying() == set()
    scene.advance(0.1)
    assert scene.flying() == {"b"}
    assert NodeSucceeded("pause", 0, NULL) in scene.entries()


def test_a_delay_survives_a_change_of_owner() -> None:
    """Rule 5: when it is due comes from the log."""
    scene = Scene(flat(delay("pause", 10.0), action("b", "pause")))
    scene.advance(6.0)
    scene.crash()
    scene.advance(4.0)
    assert scene.flying() == {"b"}


def test_a_delay_that_is_over_while_nobody_owns_the_saga_is_over() -> None:
    """Rule 5: the new owner finds that its time has come."""
    scene = Scene(flat(delay("pause", 10.0), action("b", "pause")))
    scene.now += 60.0
    scene.crash()
    assert scene.flying() == {"b"}


def test_a_delay_is_abandoned_and_undone_like_any_node_without_effect() -> None:
    scene = Scene(flat(action("a"), delay("past", 0.0, "a"), action("b", "past"), delay("later", 99.0)))
    scene.succeed("a")
    scene.fail("b")
    assert scene.are(past="UNDONE", later="ABANDONED")
    assert scene.flying() == {"undo a"}


def test_a_signal_is_the_output_of_the_node_that_waits_for_it() -> None:
    after = Node("b", ActionNode("do.b", inputs=(("answer", output_of("approve", "yes")),)))
    scene = Scene(flat(wait("approve"), after))
    assert scene.flying() == set()
    scene.signal("approve", YES)
    assert scene.flying() == {"b"}
    assert scene.invocations("b")[0].inputs == (("answer", Payload(json="true")),)


def test_a_signal_that_comes_before_its_node_waits_is_kept() -> None:
    """Over a change of owner, too."""
    scene = Scene(flat(action("a"), wait("approve", "a"), action("b", "approve")))
    scene.signal("approve", YES)
    scene.crash([("a", scene.sends[0].invocation.kind, 1)])
    scene.succeed("a")
    assert scene.flying() == {"b"}


def test_each_signal_is_for_one_node() -> None:
    """And more than there are nodes for them are refused."""
    scene = Scene(flat(wait("one", signal="go"), action("a", "one"), wait("two", "a", signal="go")))
    scene.signal("go")
    assert scene.flying() == {"a"}
    scene.signal("go")
    refusal = scene.signal("go").refusal
    assert refusal is not None
    assert refusal.code == "SIGNAL_NOT_AWAITED"
    scene.succeed("a")
    assert scene.state() is SagaState.SUCCEEDED


def test_the_same_request_counts_once() -> None:
    scene = Scene(flat(wait("one", signal="go"), wait("two", "one", signal="go"), action("a", "two")))
    scene.signal("go", YES, "r1")
    decision = scene.signal("go", YES, "r1")
    assert (decision.refusal, decision.entries) == (None, ())
    assert scene.flying() == set()
    scene.signal("go", YES, "r2")
    assert scene.flying() == {"a"}


def test_signals_that_nothing_waits_for_are_refused() -> None:
    scene = Scene(flat(wait("approve")))
    refusal = scene.signal("nobody").refusal
    assert refusal is not None
    assert refusal.code == "SIGNAL_NOT_FOUND"
    scene.unwind()
    refusal = scene.signal("approve").refusal
    assert refusal is not None
    assert refusal.code == "SAGA_FINISHED"


def test_a_signal_that_does_not_come_in_time_fails_its_node() -> None:
    """It certainly had no effect."""
    scene = Scene(flat(action("a"), wait("approve", "a", timeout=5.0)))
    scene.succeed("a")
    scene.advance(5.0)
    failed = [entry for entry in scene.entries() if isinstance(entry, NodeFailed)]
    assert [(entry.node, entry.failure.type) for entry in failed] == [("approve", "sagaline.SignalTimeout")]
    assert scene.are(approve="FAILED")
    assert scene.flying() == {"undo a"}


def test_after_a_pivot_a_signal_is_waited_for_for_ever() -> None:
    pay = Node("pay", ActionNode("do.pay", undo=UndoKind.NONE, pivot=True))
    assert not check_graph(graph(pay, wait("approve", "pay")))
    problems = check_graph(graph(pay, wait("approve", "pay", timeout=5.0)))
    assert [problem.reason for problem in problems] == ["BOUNDED_AFTER_PIVOT"]


def test_a_delayed_start_holds_every_first_start_and_delay() -> None:
    """It is in the first entry, so whoever owns the saga then waits for the rest of it."""
    topology = flat(action("a"), delay("pause", 5.0), action("b", "pause"))
    turn = Turn(empty(topology), 1, 100.0, lambda: 0.0)
    turn.write(SagaCreated(DIGEST, start_delay=60.0))
    turn.go_on(lambda *_: "w")
    assert (turn.starts, sorted(turn.timers)) == ([], [(topology.index["a"], 160.0), (topology.index["pause"], 165.0)])
    heir = Turn(fold(topology, turn.entries), 2, 160.0, lambda: 0.0)
    heir.go_on(lambda *_: "w")
    assert [topology.nodes[node].name for node, _ in heir.starts] == ["a"]


def test_a_delayed_start_is_content() -> None:
    """Rule 17: other content is another saga; without one the digests of before stand."""
    spec = SagaSpec("s", graph(action("a")), NULL)
    digest = graph_digest(spec.graph)
    later = SagaSpec("s", spec.graph, NULL, start_delay=1.0)
    assert saga_digest(spec, digest) != saga_digest(later, digest)
    assert graph_digest(graph(delay("d", 1.0))) != graph_digest(graph(delay("d", 2.0)))
    assert graph_digest(graph(wait("d"))) != graph_digest(graph(wait("d", timeout=2.0)))


@given(GRAPHS, SEEDS)
def test_a_copy_has_all_of_a_state(any_graph: object, seed: int) -> None:
    """A turn that is thrown away leaves nothing behind."""
    saga = empty(beside("a")) if seed % 2 else empty(flatten_valid(any_graph))  # type: ignore[arg-type]
    assert snapshot(saga.copy()) == snapshot(saga)
