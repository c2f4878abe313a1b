"""All waiting goes through the gate (rule 15)."""

from __future__ import annotations

from hypothesis import given

from sagaline_server.core.apply import apply
from sagaline_server.core.decide import SetPaused
from sagaline_server.core.entries import GateChanged, SagaState, Stamped
from sagaline_server.core.graph import Graph
from tests.unit.core.driver import empty, snapshot
from tests.unit.core.graphs import action, beside, chain, flat, flatten_valid, join
from tests.unit.core.scene import UNDO, Scene
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS, TEMPERS
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
    ignored = {"seq", "updated", "paused"}
    paused, never = snapshot(world.saga), snapshot(saga)
    assert {k: v for k, v in paused.items() if k not in ignored} == {k: v for k, v in never.items() if k not in ignored}


@given(GRAPHS, SEEDS)
def test_pauses_change_no_effect(graph: Graph, seed: int) -> None:
    """Rule 15: with workers that only succeed, pauses or not, everything is done, once, with the same outputs."""
    topology = flatten_valid(graph)
    quiet = World(topology, Temper(), PARAMS, seed=seed)
    quiet.calm()
    paused = World(topology, Temper(pause=30), PARAMS, seed=seed, paused=True)
    paused.rage(30)
    paused.calm()
    if quiet.saga.finished is SagaState.SUCCEEDED:
        assert paused.saga.outputs == quiet.saga.outputs
    assert paused.saga.finished is quiet.saga.finished
