"""Injected faults strike once, whoever owns the saga; a saga that is set aside starts nothing."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.decide import InjectFault, SetQuarantined
from sagaline_server.core.entries import FaultKind, FaultStruck, NodeFailed, SagaState
from sagaline_server.core.graph import Graph
from tests.unit.core.graphs import beside, chain, flatten_valid
from tests.unit.core.scene import UNDO, Scene
from tests.unit.core.strategies import PARAMS, SEEDS, STEPS, UNTIMED_GRAPHS
from tests.unit.core.world import Temper, World

BY = ("ann", "test")


def test_an_action_error_takes_the_place_of_the_attempt() -> None:
    scene = Scene(chain("a", "b"))
    scene.take(InjectFault("b", FaultKind.ACTION_ERROR, 1, *BY))
    scene.crash({("a", scene.result("a").kind, 1)})
    scene.succeed("a")
    assert scene.flying() == {"undo a"}, "b was not sent, and failed"
    failed = next(entry for entry in scene.entries() if isinstance(entry, NodeFailed))
    assert (failed.node, failed.attempt, failed.failure.type) == ("b", 1, "sagaline.InjectedFault")
    assert not scene.saga.faults


def test_an_error_says_nothing_of_an_earlier_attempt() -> None:
    """Rule 4: an attempt before the fault may have had an effect."""
    scene = Scene(chain("a"))
    scene.retry("a")
    scene.take(InjectFault("a", FaultKind.ACTION_ERROR, 1, *BY))
    scene.advance(100)
    assert not any(isinstance(entry, NodeFailed) for entry in scene.entries())
    scene.advance(100)
    scene.succeed("a")
    assert scene.saga.finished is SagaState.SUCCEEDED


def test_an_undo_error_makes_the_saga_stuck() -> None:
    scene = Scene(chain("a", "b"))
    scene.take(InjectFault("a", FaultKind.UNDO_ERROR, 1, *BY))
    scene.succeed("a")
    scene.fail("b")
    assert (scene.flying(), scene.saga.state) == (set(), SagaState.STUCK)


def test_a_repeat_sends_again_what_has_succeeded() -> None:
    scene = Scene(chain("a"))
    scene.take(InjectFault("a", FaultKind.REPEAT, 2, *BY))
    for attempt in (1, 2, 3):
        assert scene.saga.run(0, scene.result("a").kind).in_flight == attempt
        assert scene.saga.finished is None
        scene.succeed("a")
    assert scene.saga.finished is SagaState.SUCCEEDED


def test_a_crash_is_logged_before_it_and_the_result_is_not() -> None:
    scene = Scene(chain("a"))
    scene.take(InjectFault("a", FaultKind.CRASH_BEFORE_RESULT, 1, *BY))
    decision = scene.succeed("a")
    assert (decision.crashes, decision.fate) == (True, None)
    assert scene.entries()[-1] == FaultStruck("a", FaultKind.CRASH_BEFORE_RESULT)
    scene.crash({("a", scene.result("a").kind, 1)})
    assert not scene.succeed("a").crashes, "it strikes once"
    assert scene.saga.finished is SagaState.SUCCEEDED


def test_what_can_befall_nothing_is_refused() -> None:
    scene = Scene(beside("a", "b"))
    scene.succeed("a")
    codes = [
        scene.take(InjectFault(node, fault, times)).refusal
        for node, fault, times in (
            ("nowhere", FaultKind.REPEAT, 1),
            ("a", FaultKind.ACTION_ERROR, 1),
            ("b", FaultKind.REPEAT, 101),
        )
    ]
    assert [refusal and refusal.code for refusal in codes] == [
        "NODE_NOT_FOUND",
        "FAULT_NOT_APPLICABLE",
        "FAULT_NOT_APPLICABLE",
    ]


def test_a_saga_that_is_set_aside_takes_results_and_starts_nothing() -> None:
    scene = Scene(chain("a", "b"))
    scene.take(SetQuarantined(True, *BY))
    assert (scene.saga.state, scene.saga.needs_operator) == (SagaState.QUARANTINED, True)
    scene.succeed("a")
    scene.crash()
    scene.advance(1000)
    assert (scene.flying(), scene.saga.state) == (set(), SagaState.QUARANTINED)
    scene.take(SetQuarantined(False, *BY))
    assert scene.flying() == {"b"}
    scene.take(SetQuarantined(True, *BY))
    scene.fail("b")
    assert scene.flying() == set(), "undo actions wait too"
    scene.take(SetQuarantined(False, *BY))
    scene.take(scene.result("a", UNDO))
    assert scene.saga.finished is SagaState.UNWOUND


@given(
    UNTIMED_GRAPHS,
    SEEDS,
    STEPS,
    st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30), st.sampled_from(FaultKind))),
)
def test_sagas_end_whatever_is_injected(
    graph: Graph, seed: int, steps: int, faults: list[tuple[int, int, FaultKind]]
) -> None:
    """Faults and quarantine at any time change neither the rules nor that every saga can be brought to its end."""
    temper = Temper(fail=10, retry=10, undo_trouble=10, lose=5, crash=5, resolve=10)
    world = World(flatten_valid(graph), temper, PARAMS, seed=seed)
    nodes = world.topology.nodes
    for step in range(steps):
        for at, node, fault in faults:
            if at == step and world.saga.finished is None:
                world.take(InjectFault(nodes[node % len(nodes)].name, fault, 1 + node % 3, *BY))
                world.take(SetQuarantined(node % 2 == 0, *BY))
        world.step()
    if world.saga.finished is None:
        world.take(SetQuarantined(False, *BY))
    world.calm(operator=True)
    world.check_end()
