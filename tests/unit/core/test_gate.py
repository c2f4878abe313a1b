"""All waiting goes through the gate (rule 15)."""

from __future__ import annotations

from hypothesis import given

from sagaline_server.core.apply import apply
from sagaline_server.core.decide import SetPaused
from sagaline_server.core.entries import GateChanged, SagaState, Stamped
from sagaline_server.core.graph import Graph
from sagaline_server.core.values import Payload
from tests.unit.core.driver import empty, snapshot
from tests.unit.core.graphs import action, beside, chain, flat, flatten_valid, join, subsaga
from tests.unit.core.scene import ACTION, UNDO, Scene
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS, TEMPERS, UNTIMED_GRAPHS
from tests.unit.core.world import Temper, World


def test_created_paused_starts_nothing() -> None:
    """Rule 15: the gate can be shut from the start."""
    scene = Scene(join(), paused=True)
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"a", "b"}


def test_a_pause_holds_every_start_and_lets_what_runs_come_to_its_end() -> None:
    """Rule 15: results are taken and logged while paused; what follows waits."""
    scene = Scene(join())
    scene.pause()
    scene.succeed("a", "b")
    assert scene.flying() == set()
    assert scene.are(c="PENDING")
    scene.resume()
    assert scene.flying() == {"c"}


def test_a_pause_holds_undo_actions() -> None:
    """Rule 15: the gate is asked before undo actions too."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.pause()
    scene.fail("b")
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"undo a"}


def test_a_pause_holds_retries_that_fall_due() -> None:
    """Rule 15: the due time passes, and the attempt starts when the gate opens."""
    scene = Scene(beside("a", "b"))
    scene.retry("a")
    scene.pause()
    scene.advance(100)
    assert scene.flying() == {"b"}
    scene.resume()
    assert scene.flying() == {"a", "b"}


def test_a_pause_of_undo_retries_survives_the_owner() -> None:
    """Rule 15: a new owner finds the gate shut."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.fail("b")
    scene.retry("a", UNDO)
    scene.pause()
    scene.crash()
    scene.advance(100)
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"undo a"}


def test_nodes_without_a_slot_are_held_too() -> None:
    """Rule 15: a slot that becomes free while the gate is shut starts nothing."""
    scene = Scene(flat(action("a")), paused=True)
    scene.room = False
    scene.resume()
    scene.pause()
    scene.room = True
    scene.place_all()
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"a"}


def test_pausing_twice_is_one_entry() -> None:
    """The gate as it is already is no change."""
    scene = Scene(beside("a"))
    scene.pause()
    scene.pause()
    assert sum(isinstance(entry, GateChanged) for entry in scene.entries()) == 1
    decision = scene.take(SetPaused(True, "somebody else"))
    assert decision.refusal is None


def test_an_ended_saga_can_not_be_paused() -> None:
    """A request that makes no sense is refused with a code."""
    scene = Scene(beside("a"))
    scene.succeed("a")
    refusal = scene.pause().refusal
    assert refusal is not None
    assert refusal.code == "SAGA_FINISHED"


def test_unwinding_can_be_asked_for_while_paused() -> None:
    """Rule 15: the saga turns at once; undo actions wait for the gate."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a")
    scene.pause()
    scene.unwind()
    scene.succeed("b")
    assert scene.state() is SagaState.UNWINDING
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"undo b"}


def test_a_step_lets_one_start_pass() -> None:
    """Rule 15: counted, and the others wait for the next."""
    scene = Scene(join(), paused=True)
    scene.step()
    assert scene.flying() == {"a"}
    scene.succeed("a")
    assert scene.flying() == set()
    scene.step(2)
    assert scene.flying() == {"b"}
    scene.succeed("b")
    assert scene.flying() == {"c"}
    assert scene.saga.steps == 0


def test_steps_are_left_until_they_are_used() -> None:
    """Rule 15: a step waits for a start to let pass; retries and undo actions use them too."""
    scene = Scene(chain("a", "b"), paused=True)
    scene.step(3)
    assert scene.saga.steps == 2
    scene.retry("a")
    scene.advance(10)
    assert scene.flying() == {"a"}
    scene.succeed("a")
    assert scene.flying() == {"b"}
    scene.fail("b")
    assert scene.flying() == set()
    scene.step()
    assert scene.flying() == {"undo a"}


def test_steps_survive_a_change_of_owner() -> None:
    """Rule 15: the passes that are left are in the log."""
    scene = Scene(chain("a", "b", "c"), paused=True)
    scene.step(2)
    scene.crash([("a", ACTION, 1)])
    scene.succeed("a")
    assert scene.flying() == {"b"}
    scene.succeed("b")
    assert scene.flying() == set()


def test_a_step_waits_for_a_slot() -> None:
    """Rule 15: one pass is for one start, however many nodes wait for a worker."""
    scene = Scene(beside("a", "b"), paused=True)
    scene.room = False
    scene.step()
    scene.room = True
    scene.place_all()
    assert len(scene.flying()) == 1


def test_steps_end_with_the_pause() -> None:
    """Rule 15: what was left of them does not wait for the next pause."""
    scene = Scene(chain("a", "b", "c"), paused=True)
    scene.step(3)
    scene.resume()
    scene.pause()
    scene.succeed("a")
    assert scene.flying() == set()


def test_a_step_of_a_saga_that_nothing_holds_is_refused() -> None:
    """A request that makes no sense is refused with a code."""
    refusal = Scene(beside("a")).step().refusal
    assert refusal is not None
    assert refusal.code == "SAGA_NOT_PAUSED"


def test_a_breakpoint_holds_its_node_and_no_other() -> None:
    """Rule 15: beside it the saga goes on; a step lets it pass."""
    scene = Scene(join())
    scene.stop_at("c")
    scene.succeed("a", "b")
    assert scene.flying() == set()
    assert not scene.saga.paused
    scene.step()
    assert scene.flying() == {"c"}
    scene.succeed("c")
    assert scene.state() is SagaState.SUCCEEDED


def test_a_breakpoint_holds_one_side_if_it_says_so() -> None:
    """Rule 15: before undo actions alone."""
    scene = Scene(chain("a", "b"))
    scene.stop_at("a", kind=UNDO)
    assert scene.flying() == {"a"}
    scene.succeed("a")
    scene.fail("b")
    assert scene.flying() == set()
    scene.stop_at()
    assert scene.flying() == {"undo a"}


def test_a_breakpoint_at_every_node_single_steps() -> None:
    """Rule 15: "*" is every start."""
    scene = Scene(chain("a", "b"), paused=True)
    scene.stop_at("*")
    scene.resume()
    assert scene.flying() == set()
    scene.step()
    scene.succeed("a")
    assert scene.flying() == set()


def test_a_breakpoint_at_a_subsaga_holds_every_node_in_it() -> None:
    """Rule 15: the name of a subsaga stands for what is in it, and is no prefix of other names."""
    scene = Scene(flat(subsaga("s", action("a")), action("sx")), paused=True)
    scene.stop_at("s")
    scene.resume()
    assert scene.flying() == {"sx"}


def test_breakpoints_survive_a_change_of_owner_and_a_pause() -> None:
    """Rule 15: they are in the log, and the end of a pause does not remove them."""
    scene = Scene(chain("a", "b"))
    scene.stop_at("b")
    scene.pause()
    scene.resume()
    scene.succeed("a")
    scene.crash()
    assert scene.flying() == set()
    scene.stop_at()
    assert scene.flying() == {"b"}


def test_breakpoints_are_set_once_and_at_nodes_that_are_there() -> None:
    """The gate as it is already is no change; a name that is not there would hold nothing for ever."""
    scene = Scene(chain("a", "b"))
    scene.stop_at("b", "b")
    assert not scene.stop_at("b").entries
    refusal = scene.stop_at("nobody").refusal
    assert refusal is not None
    assert refusal.code == "NODE_NOT_FOUND"


def test_an_ended_saga_takes_neither_steps_nor_breakpoints() -> None:
    """What has ended stays as it is."""
    scene = Scene(beside("a"))
    scene.succeed("a")
    for decision in (scene.step(), scene.stop_at("a")):
        assert decision.refusal is not None
        assert decision.refusal.code == "SAGA_FINISHED"


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_pauses_change_only_when_things_happen(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 15: a log without its pauses is a log of the same saga that was never paused, and ends the same."""
    topology = flatten_valid(graph)
    world = World(topology, temper, PARAMS, seed=seed)
    world.rage(steps)
    world.calm()
    saga = empty(topology, PARAMS)
    for stamped in world.log:
        if not isinstance(stamped.entry, GateChanged):
            apply(saga, Stamped(saga.seq + 1, stamped.epoch, stamped.time, stamped.entry))
    ignored = {"seq", "updated", "paused", "steps", "breakpoints", "gate_changed"}
    paused, never = snapshot(world.saga), snapshot(saga)
    assert {k: v for k, v in paused.items() if k not in ignored} == {k: v for k, v in never.items() if k not in ignored}


def outputs_by_name(world: World) -> dict[str, Payload]:
    """What nodes gave. The elements of maps are numbered in the order in which the maps grew, so numbers may differ."""
    nodes = world.saga.topology.nodes
    return {nodes[number].name: output for number, output in world.saga.outputs.items()}


@given(UNTIMED_GRAPHS, SEEDS)
def test_pauses_change_no_effect(graph: Graph, seed: int) -> None:
    """Rule 15: with workers that only succeed, pauses or not, everything is done, once, with the same outputs."""
    topology = flatten_valid(graph)
    quiet = World(topology, Temper(), PARAMS, seed=seed)
    quiet.calm()
    paused = World(topology, Temper(pause=30), PARAMS, seed=seed, paused=True)
    paused.rage(30)
    paused.calm()
    if quiet.saga.retreating or paused.saga.retreating:
        return  # an element of a map failed by itself: what had run beside it by then depends on when
    if quiet.saga.finished is SagaState.SUCCEEDED:
        assert outputs_by_name(paused) == outputs_by_name(quiet)
    succeeded = SagaState.SUCCEEDED
    assert (paused.saga.finished is succeeded) == (quiet.saga.finished is succeeded)
