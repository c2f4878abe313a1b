"""Graphs flattened: subsagas, data through their borders, order, and graphs as large as they may be."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given

from sagaline_server.core import limits
from sagaline_server.core.decide import Result
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.entries import Kind, SagaCreated, SagaState
from sagaline_server.core.graph import Graph, Node
from sagaline_server.core.topology import Topology, flatten, sinks
from sagaline_server.core.turn import ENTRIES, Turn
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.driver import DIGEST, empty
from tests.unit.core.graphs import action, constant, flat, flatten_valid, graph, output_of, params, subsaga
from tests.unit.core.scene import Scene, failure
from tests.unit.core.strategies import GRAPHS, PARAMS, SEEDS
from tests.unit.core.world import World


def edges(topology: Topology) -> set[tuple[str, str]]:
    names = [node.name for node in topology.nodes]
    return {(names[parent], node.name) for node in topology.nodes for parent in node.parents}


def test_edges_come_from_data_and_from_after() -> None:
    """A node waits for whatever it takes data from, and for what it is after; each edge once."""
    topology = flat(action("a"), action("b"), action("c", "a", v=output_of("b"), w=output_of("a")))
    assert edges(topology) == {("a", "c"), ("b", "c")}


def test_a_subsaga_is_its_nodes_and_a_join() -> None:
    """Its first nodes wait for what is before it, its join waits for its last ones, what follows waits for the join."""
    inner = subsaga("s", action("x"), action("y", "x"), action("z", "x"), after=("a",))
    topology = flat(action("a"), inner, action("b", "s"))
    assert edges(topology) == {
        ("a", "s/x"),
        ("s/x", "s/y"),
        ("s/x", "s/z"),
        ("s/y", "s"),
        ("s/z", "s"),
        ("s", "b"),
    }


def test_inner_constants_wait_for_what_is_before_the_subsaga() -> None:
    """Nothing of a subsaga exists before its turn."""
    topology = flat(action("a"), subsaga("s", constant("k"), after=("a",)))
    assert ("a", "s/k") in edges(topology)


def test_values_through_the_borders_of_subsagas() -> None:
    """Parameters come from an ancestor's output, fields of it selected at each border; the result goes out the same."""
    innermost = subsaga("t", action("x", v=params("c")), params=params("b"))
    outer = subsaga("s", innermost, params=output_of("a"))
    scene = Scene(flat(action("a"), outer, action("z", v=output_of("s", "ok"))))
    scene.succeed("a", output=Payload(json='{"b":{"c":[1,2]}}'))
    assert scene.invocations("s/t/x")[0].inputs == (("v", Payload(json="[1,2]")),)
    scene.succeed("s/t/x", output=Payload(json='{"ok":"yes"}'))
    assert scene.invocations("z")[0].inputs == (("v", Payload(json='"yes"')),)


def test_a_subsaga_without_parameters_has_null() -> None:
    """Absent parameters are the JSON null; a field of it can't be had."""
    scene = Scene(flat(subsaga("s", action("x", v=params()))))
    assert scene.invocations("s/x")[0].inputs == (("v", NULL),)


@pytest.mark.parametrize(
    ("nodes", "result", "expected"),
    [
        ((constant("a", "1"), constant("b", "2", "a")), "", "2"),
        ((constant("a", "1"), constant("b", "2", "a")), "a", "1"),
        ((constant("a", "1"), constant("b", "2")), "", "null"),
        ((constant("a", "1"), constant("b", "2")), "b", "2"),
        ((subsaga("s", constant("x", "7")),), "", "7"),
        ((subsaga("s", constant("x", "7"), constant("y", "8")),), "", "null"),
        ((subsaga("s", constant("x", "7"), constant("y", "8")),), "s", "null"),
    ],
)
def test_the_result_of_a_graph(nodes: tuple[Node, ...], result: str, expected: str) -> None:
    """The named node's output; else that of the only last node; where there are several, null."""
    scene = Scene(flat(*nodes, result=result))
    assert scene.state() is SagaState.SUCCEEDED
    assert scene.saga.result() == Payload(json=expected)


def test_a_saga_of_constants_ends_at_once() -> None:
    """Instant nodes need nobody, however they are nested."""
    scene = Scene(flat(constant("a"), subsaga("s", subsaga("t", constant("x", "1")), after=("a",))))
    assert scene.state() is SagaState.SUCCEEDED
    assert [type(entry).__name__ for entry in scene.entries()] == ["SagaCreated", "SagaFinished"]


@pytest.mark.parametrize("path", [("b",), ("list", "2"), ("list", "x"), ("list", "-1"), ("n", "b")])
def test_an_input_that_can_not_be_had_fails_the_node(path: tuple[str, ...]) -> None:
    """A path that selects nothing: no attempt was sent, so the node fails with no effect, and says which input."""
    scene = Scene(flat(action("a"), action("b", v=output_of("a", *path))))
    scene.succeed("a", output=Payload(json='{"list":[1,2],"n":1}'))
    assert scene.are(b="FAILED")
    assert scene.saga.failure is not None
    assert scene.saga.failure.type == "sagaline.InputUnavailable"
    assert "'v'" in scene.saga.failure.message
    assert scene.flying() == {"undo a"}


def test_bytes_have_no_fields() -> None:
    """Selecting inside a payload that is not JSON is no crash."""
    scene = Scene(flat(action("a"), action("b", v=output_of("a", "f"))))
    scene.succeed("a", output=Payload(data=b"\x00", encoding="raw"))
    assert scene.are(b="FAILED")


def test_sinks_stand_as_in_the_graph() -> None:
    """The last nodes are those that nothing depends on, by data or by `after`."""
    assert sinks(graph(action("c"), action("a"), action("b", v=output_of("a")))) == ["c", "b"]


@given(GRAPHS, SEEDS)
def test_numbers_are_topological_and_stable(any_graph: Graph, seed: int) -> None:
    """Parents come before children; children know their parents and the other way round; names are unique."""
    topology = flatten_valid(any_graph)
    for number, node in enumerate(topology.nodes):
        assert topology.index[node.name] == number
        assert all(parent < number for parent in node.parents)
        assert all(number in topology.nodes[parent].children for parent in node.parents)
        assert all(number in topology.nodes[child].parents for child in node.children)
    assert flatten_valid(any_graph) == topology


TROUBLES = {
    "sagaline.InputUnavailable",
    "sagaline.ScheduleToStartTimeout",
    "sagaline.NotAList",
    "sagaline.SignalTimeout",
}


@given(GRAPHS, SEEDS)
def test_whatever_validates_flattens_and_runs(any_graph: Graph, seed: int) -> None:
    """A graph without problems comes to an end when every worker says yes: all done, or an input can't be had; where
    that may not turn the saga, its node is held."""
    assert check_graph(any_graph) == []
    world = World(flatten_valid(any_graph), params=PARAMS, seed=seed)
    world.calm()
    if world.saga.finished is SagaState.SUCCEEDED:
        world.saga.result()
        return
    held = [run.failure for run in world.saga.runs.values() if run.failure is not None]
    failures = [failure for failure in (world.saga.failure, *held) if failure is not None]
    assert failures
    assert {failure.type for failure in failures} <= TROUBLES


# ---- as large as it gets

MAX = limits.GRAPH_NODES


def long_chain() -> Graph:
    return graph(*(action(f"n{i}", *([f"n{i - 1}"] if i else [])) for i in range(MAX)))


def wide_fan() -> Graph:
    middle = [action(f"n{i}", v=output_of("first")) for i in range(MAX - 2)]
    return graph(action("first"), *middle, action("last", *(node.name for node in middle)))


def dense() -> Graph:
    """Every node after the ten before it: as many edges as are allowed."""
    nodes = [action(f"n{i}", *(f"n{j}" for j in range(max(i - 10, 0), i))) for i in range(MAX)]
    return graph(*nodes)


def constants_in_a_chain() -> Graph:
    return graph(*(constant(f"n{i}", "1", *([f"n{i - 1}"] if i else [])) for i in range(MAX)))


@pytest.mark.parametrize("make", [long_chain, wide_fan, dense, constants_in_a_chain])
def test_large_graphs(make: Callable[[], Graph]) -> None:
    """The largest graphs are checked and flattened in a second or two, in any order, without deep recursion.

    The bound tells a quadratic from a linear cost, also where another process has the core's other half.
    """
    shuffled = list(make().nodes)
    random.Random(1).shuffle(shuffled)
    large = graph(*shuffled)
    start = time.process_time()
    assert check_graph(large) == []
    topology = flatten(large, graph_digest(large))
    assert time.process_time() - start < 6.0, "seconds of CPU"
    assert len(topology.nodes) == MAX


def begun(large: Graph) -> Turn:
    """The first turn of a saga, without a driver's doubts, which take time that grows with the square."""
    turn = Turn(empty(flatten_valid(large)), 1, 0.0, lambda: 0.0)
    turn.write(SagaCreated(DIGEST))
    turn.go_on(lambda _node, _kind: "worker-1")
    return turn


def go_on(turn: Turn, *results: Result) -> Turn:
    following = Turn(turn.saga, 1, 0.0, lambda: 0.0)
    for result in results:
        following.take(result)
    following.go_on(lambda _node, _kind: "worker-1")
    return following


def all_starts(turn: Turn) -> tuple[Turn, list[tuple[int, Kind]]]:
    """Take turns until nothing is left to look at: one append has room for so much only."""
    starts = turn.starts[:]
    while turn.saga.woken:
        assert len(turn.starts) <= ENTRIES
        turn = go_on(turn)
        starts += turn.starts
    return turn, starts


def test_ten_thousand_nodes_start_and_turn() -> None:
    """A fan-out starts at once; when one of them fails the rest is undone as it comes in, and then the first."""
    turn, starts = all_starts(go_on(begun(wide_fan()), Result("first", Kind.ACTION, 1, NULL)))
    assert len(starts) == MAX - 2
    turn = go_on(turn, Result("n0", Kind.ACTION, 1, failure=failure()))
    assert len(turn.cancels) == MAX - 3
    turn, starts = all_starts(go_on(turn, *(Result(f"n{i}", Kind.ACTION, 1, NULL) for i in range(1, MAX - 2))))
    assert len(starts) == MAX - 3
    turn, starts = all_starts(go_on(turn, *(Result(f"n{i}", Kind.UNDO, 1) for i in range(1, MAX - 2))))
    assert starts == [(0, Kind.UNDO)]
    turn = go_on(turn, Result("first", Kind.UNDO, 1))
    assert turn.saga.finished is SagaState.UNWOUND


def test_instant_nodes_pass_and_are_undone_by_a_loop() -> None:
    """A chain of ten thousand constants passes at once, and is undone at once, without deep recursion."""
    assert begun(constants_in_a_chain()).saga.finished is SagaState.SUCCEEDED
    nodes = constants_in_a_chain().nodes[:-2]
    turn = begun(graph(*nodes, action("a"), action("z", "a", nodes[-1].name)))
    turn = go_on(turn, Result("a", Kind.ACTION, 1, NULL))
    turn = go_on(turn, Result("z", Kind.ACTION, 1, failure=failure()))
    assert turn.saga.remaining == 1
    assert turn.starts == [(turn.saga.topology.index["a"], Kind.UNDO)]
