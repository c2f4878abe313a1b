"""Breakpoints on actions hold them in every saga, and are in no saga's log (rule 15)."""

from __future__ import annotations

from hypothesis import given

from sagaline_server.core.entries import AttemptStarted, SagaState, UndoAttemptStarted
from sagaline_server.core.gate import ActionPoint
from sagaline_server.core.graph import ActionNode, Graph, MapNode, Node, Timeouts
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.values import Payload
from tests.unit.core.graphs import beside, chain, flat, flatten_valid, params
from tests.unit.core.scene import ACTION, UNDO, Scene
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS
from tests.unit.core.world import Temper, World

HELD = ActionPoint(None, "ann", "the payment service is being looked at")


def stepped(scene: Scene) -> list[str]:
    """Return the starts that say that they used up a step."""
    started = (AttemptStarted, UndoAttemptStarted)
    return [entry.node for entry in scene.entries() if isinstance(entry, started) and entry.stepped]


def test_it_holds_every_node_of_its_action_and_nothing_else() -> None:
    """Rule 15: by the action's name, whatever the nodes are called."""
    nodes = [Node(name, ActionNode(does)) for name, does in (("x", "pay"), ("y", "book"), ("z", "pay"))]
    scene = Scene(flat(*nodes), paused=True)
    scene.set_points({"pay": HELD})
    scene.resume()
    assert scene.flying() == {"y"}
    scene.succeed("y")
    assert scene.state() is SagaState.RUNNING
    scene.set_points({})
    assert scene.flying() == {"x", "z"}
    assert not stepped(scene)


def test_it_holds_undo_actions_and_attempts_that_fall_due() -> None:
    """Rule 15: before every start, of either side."""
    scene = Scene(chain("a", "b"))
    scene.retry("a")
    scene.set_points({"do.a": HELD})
    scene.advance(100)
    assert scene.flying() == set()
    scene.set_points({})
    scene.succeed("a")
    scene.set_points({"do.a": HELD})
    scene.fail("b")
    assert scene.flying() == set()
    scene.set_points({})
    assert scene.flying() == {"undo a"}


def test_it_holds_one_side_if_it_says_so() -> None:
    """Rule 15: before undo actions alone."""
    scene = Scene(chain("a", "b"))
    scene.set_points({"do.a": ActionPoint(UNDO)})
    scene.succeed("a")
    scene.fail("b")
    assert scene.flying() == set()
    scene.set_points({"do.a": ActionPoint(ACTION)})
    assert scene.flying() == {"undo a"}


def test_a_step_lets_one_start_pass_and_the_start_says_so() -> None:
    """Rule 15: who folds the log knows nothing of the breakpoint, and counts the steps all the same."""
    scene = Scene(beside("a", "b", "c"), paused=True)
    scene.set_points({"do.a": HELD, "do.b": HELD})
    scene.resume()
    assert scene.flying() == {"c"}
    scene.step()
    assert scene.flying() == {"c", "a"}
    assert scene.saga.steps == 0
    assert stepped(scene) == ["a"]
    scene.crash([("c", ACTION, 1), ("a", ACTION, 1)])
    assert scene.saga.steps == 0
    assert scene.flying() == {"c", "a"}
    scene.step(2)
    assert scene.flying() == {"a", "b", "c"}
    assert scene.saga.steps == 1


def test_a_start_that_the_log_knows_to_be_held_says_nothing() -> None:
    """Rule 15: one step is for one start, however many conditions held it."""
    scene = Scene(beside("a"), paused=True)
    scene.set_points({"do.a": HELD})
    scene.step()
    assert scene.flying() == {"a"}
    assert not stepped(scene)
    assert scene.saga.steps == 0


def test_a_step_waits_for_what_may_come_to_be_held() -> None:
    """Rule 15: a saga that has an action with a breakpoint takes steps before it gets there; another takes none."""
    scene = Scene(chain("a", "b"))
    refusal = scene.step().refusal
    assert refusal is not None
    assert refusal.code == "SAGA_NOT_PAUSED"
    scene.set_points({"do.b": HELD})
    assert scene.step().refusal is None
    scene.succeed("a")
    assert scene.flying() == {"b"}
    assert stepped(scene) == ["b"]


def test_steps_that_nothing_took_are_not_for_breakpoints_that_come_later() -> None:
    """Rule 15: as with the end of a pause."""
    scene = Scene(chain("a", "b"))
    scene.set_points({"do.b": HELD})
    scene.step(3)
    scene.set_points({})
    scene.stop_at("b")
    scene.succeed("a")
    assert scene.flying() == set()


def test_time_under_a_breakpoint_is_no_wait_for_a_worker() -> None:
    """Rule 15: when it is cleared, the node has all its time for a worker to come."""
    scene = Scene(flat(Node("a", ActionNode("pay", timeouts=Timeouts(schedule_to_start=10.0)))), paused=True)
    scene.set_points({"pay": HELD})
    scene.resume()
    scene.advance(100)
    scene.room = False
    scene.set_points({})
    assert scene.status("a") is NodeStatus.PENDING
    scene.advance(9)
    assert scene.status("a") is NodeStatus.PENDING
    scene.advance(2)
    assert scene.status("a") is NodeStatus.FAILED


def test_what_waits_for_a_slot_is_held_when_it_gets_one() -> None:
    """Rule 15: a breakpoint that comes while a node waits for a worker holds it."""
    scene = Scene(beside("a"), paused=True)
    scene.room = False
    scene.resume()
    scene.set_points({"do.a": HELD})
    scene.room = True
    scene.place_all()
    assert scene.flying() == set()
    scene.set_points({})
    assert scene.flying() == {"a"}


def test_it_holds_the_elements_of_maps() -> None:
    """Rule 15: nodes that come later are held as well."""
    scene = Scene(flat(Node("m", MapNode(params(), ActionNode("pay")))), Payload(json="[1,2]"), paused=True)
    scene.set_points({"pay": HELD})
    scene.resume()
    assert scene.flying() == set()
    scene.step()
    assert scene.flying() == {"m[0]"}
    scene.set_points({})
    assert scene.flying() == {"m[0]", "m[1]"}


@given(GRAPHS, SEEDS, STEPS)
def test_whatever_breakpoints_come_and_go_the_saga_ends(graph: Graph, seed: int, steps: int) -> None:
    """Rule 15: in random worlds breakpoints on actions come and go, the log folds to the same, and nothing is left."""
    world = World(flatten_valid(graph), Temper(pause=40, fail=5, lose=5), PARAMS, seed=seed)
    world.rage(steps)
    world.calm()
