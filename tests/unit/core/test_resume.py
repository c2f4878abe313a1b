"""Recovery is `apply` over the log, then `decide`: every prefix of every log resumes (rules 1, 5 and 9)."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given, settings

from sagaline_server.core.entries import SagaState, Stamped, UndoFailed
from sagaline_server.core.graph import UNDO_RETRY, Graph, UndoKind
from sagaline_server.core.topology import Topology
from sagaline_server.core.transitions import NodeStatus
from tests.unit.core.driver import Driver, fold, snapshot
from tests.unit.core.effects import Effects
from tests.unit.core.graphs import action, chain, flat, flatten_valid, join
from tests.unit.core.scene import Scene
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS, STEPS, TEMPERS
from tests.unit.core.world import Temper, World

PREFIXES_MAX = 40
"""Of one log, so that a long one does not cost a minute; chosen at random, ends included."""


def raged(graph: Graph, temper: Temper, seed: int, steps: int) -> World:
    """A world after some steps; with odd seeds its saga has come to its end, too."""
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    world.rage(steps)
    if seed % 2:
        world.calm()
    return world


def adopt(topology: Topology, prefix: Sequence[Stamped], seed: int) -> World:
    """The owner dies after a prefix of its log. The world is any that the prefix allows, and honest from now on."""
    effects = Effects.told_by(prefix)
    return World(topology, params=PARAMS, seed=seed, log=prefix, effects=effects)


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
@settings(max_examples=max(settings().max_examples // 2, 1))
def test_every_prefix_of_every_log_resumes(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 9: to succeeded, unwound or stuck, entry by entry; stuck or held only where the log says so already."""
    world = raged(graph, temper, seed, steps)
    lengths = range(1, len(world.log) + 1)
    for length in random.Random(seed).sample(lengths, min(len(lengths), PREFIXES_MAX)):
        prefix = world.log[:length]
        heir = adopt(world.graph_topology, prefix, seed + length)
        heir.calm()
        end = heir.saga.state
        if heir.saga.finished is None:
            assert heir.saga.needs_operator
            assert end in (SagaState.STUCK, SagaState.UNWINDING, SagaState.RUNNING)
            heir.calm(operator=True)
        assert heir.saga.finished in (SagaState.SUCCEEDED, SagaState.UNWOUND)


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_stuck_only_while_an_undo_is_told_to_fail_for_good(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 9, rule 12: a resumed saga whose undos succeed is stuck only where an undo had failed for good before, or
    its policy tells it to give up."""
    world = raged(graph, temper, seed, steps)
    prefix = world.log[: 1 + seed % len(world.log)]
    heir = adopt(world.graph_topology, prefix, seed)
    heir.calm()
    failed_before = {s.entry.node for s in prefix if isinstance(s.entry, UndoFailed)}
    for node in heir.topology.nodes:
        if heir.status(node.name) is NodeStatus.UNDO_FAILED:
            assert node.action is not None
            gives_up = node.action.undo_retry != UNDO_RETRY or node.action.undo_timeouts is not None
            assert node.name in failed_before or gives_up or node.action.undo is UndoKind.NONE


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_the_fold_of_the_log_is_the_live_state(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 1: folding the log anew, at once or again, gives the state that was lived, in every field."""
    world = raged(graph, temper, seed, steps)
    once = fold(world.graph_topology, world.log, PARAMS)
    again = fold(world.graph_topology, world.log, PARAMS)
    assert snapshot(once) == snapshot(again) == snapshot(world.saga)


@given(GRAPHS, TEMPERS, SEEDS, STEPS)
def test_recovery_wakes_whoever_can_go_on(graph: Graph, temper: Temper, seed: int, steps: int) -> None:
    """Rule 9: whatever could start at the end of a log is among the nodes that its fold says to look at."""
    world = raged(graph, temper, seed, steps)
    for length in range(1, len(world.log) + 1):
        saga = fold(world.graph_topology, world.log[:length], PARAMS)
        startable = {node for node in range(len(saga.topology.nodes)) if saga.startable(node) is not None}
        assert startable <= set(saga.woken)


def test_an_ended_saga_stays_ended() -> None:
    """Rule 9: the fold of a finished log asks for nothing, and a new owner writes nothing."""
    scene = Scene(chain("a", "b"))
    scene.succeed("a", "b")
    length = len(scene.log)
    scene.crash()
    assert len(scene.log) == length
    assert scene.state() is SagaState.SUCCEEDED


def test_attempts_in_flight_are_lost_and_do_not_count_against_the_policy() -> None:
    """Rule 9: nobody knows the attempt, so another is sent; a crash of the owner is not the node's fault."""
    scene = Scene(flat(action("a")))
    for _ in range(3):
        scene.crash()
        scene.wait()
    run = scene.saga.run(0, scene.sends[0].invocation.kind)
    assert (run.attempt, run.counted) == (4, 1)


def test_attempts_in_flight_are_kept_where_workers_know_them() -> None:
    """Rule 9, rule 10: their results are worth the same to the new owner."""
    scene = Scene(join())
    known = [(sent.invocation.node, sent.invocation.kind, sent.invocation.attempt) for sent in scene.sends]
    scene.crash(known)
    assert scene.flying() == {"a", "b"}
    scene.succeed("a", "b", "c")
    assert scene.state() is SagaState.SUCCEEDED
    assert len(scene.sends) == 3


def test_backoff_survives_a_change_of_owner() -> None:
    """Rule 5: the due time comes from the log, and so do the attempts that determine the next delay."""
    scene = Scene(flat(action("a")))
    for delay in (1.0, 2.0, 4.0):
        scene.retry("a")
        due = scene.timers[0]
        assert due == scene.now + delay
        scene.crash()
        assert scene.timers[0] == due
        assert scene.flying() == set()
        scene.wait()
        assert scene.now == due
        assert scene.flying() == {"a"}


def test_a_pause_survives_a_change_of_owner() -> None:
    """Rule 15: the gate is in the log."""
    scene = Scene(chain("a", "b"))
    scene.pause()
    scene.succeed("a")
    scene.crash()
    assert scene.flying() == set()
    scene.resume()
    assert scene.flying() == {"b"}


def test_only_the_log_matters() -> None:
    """Rule 1: an owner that has seen nothing but the log goes on exactly where the other stopped."""
    scene = Scene(join())
    scene.succeed("a")
    other = Driver(join(), log=scene.log)
    assert snapshot(other.saga) == snapshot(scene.saga)
