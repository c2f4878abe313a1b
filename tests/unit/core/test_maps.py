"""Maps: one action or subsaga for each element of a list, how many at once, and what a failure of one does."""

from __future__ import annotations

from typing import Any

import pytest

from sagaline_server.core.decide import Result
from sagaline_server.core.digest import graph_digest
from sagaline_server.core.entries import Kind, MapExpanded, NodeFailed, Resolution, SagaState
from sagaline_server.core.graph import ActionNode, ConstantNode, InputRef, MapNode, Node, SubsagaNode, UndoKind
from sagaline_server.core.maps import hold_of, progress_of
from sagaline_server.core.turn import ENTRIES
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import Payload
from tests.unit.core.driver import fold, snapshot
from tests.unit.core.graphs import PATIENT, action, constant, flat, graph, output_of, params, subsaga
from tests.unit.core.scene import UNDO, Scene, failure


def each_action(name: str = "m", items: InputRef | None = None, *after: str, **limits: Any) -> Node:
    body = ActionNode("do.each", retry=PATIENT, undo_retry=PATIENT)
    return Node(name, MapNode(items or params(), body, **limits), after)


def each_subsaga(*nodes: Node, name: str = "m", items: InputRef | None = None, **limits: Any) -> Node:
    return Node(name, MapNode(items or params(), SubsagaNode(graph(*nodes)), **limits))


def listed(*values: object) -> Payload:
    return Payload(json="[" + ",".join(str(value) for value in values) + "]")


def number(value: object) -> Payload:
    return Payload(json=str(value))


def taker(name: str = "z", source: str = "m", *path: str) -> Node:
    return action(name, given=output_of(source, *path))


def test_each_element_is_a_node_and_the_output_is_their_list() -> None:
    scene = Scene(flat(each_action(), taker()), listed(7, 8))
    assert scene.flying() == {"m[0]", "m[1]"}
    assert [dict(scene.invocations(f"m[{i}]")[0].inputs) for i in (0, 1)] == [{"item": number(7)}, {"item": number(8)}]
    scene.succeed("m[1]", output=number(80))
    scene.succeed("m[0]", output=number(70))
    assert scene.invocations("z")[0].inputs == (("given", listed(70, 80)),)
    scene.succeed("z")
    assert scene.state() is SagaState.SUCCEEDED
    assert MapExpanded("m", 2) in scene.entries()


def test_the_list_may_be_a_field_and_elements_share_inputs_from_outside() -> None:
    each = ActionNode("do.each", inputs=(("zone", output_of("zone")),))
    node = Node("m", MapNode(output_of("plan", "hosts"), each, item="host"))
    scene = Scene(flat(action("plan"), constant("zone", '"z1"'), node))
    scene.succeed("plan", output=Payload(json='{"hosts":[{"name":"a"}]}'))
    assert dict(scene.invocations("m[0]")[0].inputs) == {
        "zone": Payload(json='"z1"'),
        "host": Payload(json='{"name":"a"}'),
    }


def test_an_action_is_told_the_place_of_its_element_and_so_is_its_undo() -> None:
    node = Node("m", MapNode(params(), ActionNode("do.each", inputs=(("zone", params()),)), index="number"))
    scene = Scene(flat(node, taker()), listed(7, 8))
    for i in (0, 1):
        assert dict(scene.invocations(f"m[{i}]")[0].inputs)["number"] == number(i)
    scene.crash([(f"m[{i}]", Kind.ACTION, 1) for i in (0, 1)])
    scene.succeed("m[0]", "m[1]")
    scene.fail("z")
    assert scene.flying() == {"undo m[0]", "undo m[1]"}
    assert dict(scene.invocations("m[1]", UNDO)[0].inputs)["number"] == number(1)


def test_a_map_in_a_map_has_places_of_its_own() -> None:
    inner = Node("n", MapNode(params(), ActionNode("do.each"), index="place"))
    outer = Node("m", MapNode(params(), SubsagaNode(graph(inner))))
    scene = Scene(flat(outer), Payload(json="[[1],[2,3]]"))
    places = {name: dict(scene.invocations(name)[0].inputs)["place"] for name in ("m[0]/n[0]", "m[1]/n[1]")}
    assert places == {"m[0]/n[0]": number(0), "m[1]/n[1]": number(1)}


def test_an_empty_list_succeeds_with_an_empty_list() -> None:
    scene = Scene(flat(each_action(), taker()), listed())
    assert scene.invocations("z")[0].inputs == (("given", Payload(json="[]")),)
    scene.succeed("z")
    assert scene.state() is SagaState.SUCCEEDED


@pytest.mark.parametrize("given", [Payload(json='{"a":1}'), Payload(data=b"x", encoding="raw"), Payload(json="null")])
def test_what_is_no_list_fails_the_node_without_effect(given: Payload) -> None:
    scene = Scene(flat(action("a"), each_action("m", None, "a")), given)
    scene.succeed("a")
    failed = [entry for entry in scene.entries() if isinstance(entry, NodeFailed)]
    assert [(entry.node, entry.attempt, entry.failure.type) for entry in failed] == [("m", 0, "sagaline.NotAList")]
    assert scene.flying() == {"undo a"}
    scene.undo("a")
    assert scene.state() is SagaState.UNWOUND


def test_more_nodes_than_a_saga_may_have_fail_the_node_without_effect() -> None:
    scene = Scene(flat(each_subsaga(action("x"), action("y", "x"))), listed(*range(3334)))
    failed = [entry for entry in scene.entries() if isinstance(entry, NodeFailed)]
    assert [entry.failure.type for entry in failed] == ["sagaline.TooManyNodes"]
    assert scene.state() is SagaState.UNWOUND
    assert not scene.sends


def test_a_map_of_subsagas_has_elements_as_parameters() -> None:
    inner = (action("x", given=params("id")), action("y", given=output_of("x")))
    scene = Scene(flat(each_subsaga(*inner), taker()), Payload(json='[{"id":1},{"id":2}]'))
    assert scene.flying() == {"m[0]/x", "m[1]/x"}
    assert scene.invocations("m[1]/x")[0].inputs == (("given", number(2)),)
    scene.succeed("m[1]/x", "m[0]/x")
    scene.succeed("m[0]/y", output=number(10))
    scene.succeed("m[1]/y", output=number(11))
    assert scene.invocations("z")[0].inputs == (("given", listed(10, 11)),)


def test_maps_nest() -> None:
    """A map inside a subsaga inside a map: each grows when its own list is known."""
    scene = Scene(
        flat(each_subsaga(each_action("disks", params("disks"))), taker()),
        Payload(json='[{"disks":[1,2]},{"disks":[]},{"disks":[3]}]'),
    )
    assert scene.flying() == {"m[0]/disks[0]", "m[0]/disks[1]", "m[2]/disks[0]"}
    for name in sorted(scene.flying()):
        scene.succeed(name, output=Payload(json=f'"{name}"'))
    (given,) = (value for _, value in scene.invocations("z")[0].inputs)
    assert given.json == '[["m[0]/disks[0]","m[0]/disks[1]"],[],["m[2]/disks[0]"]]'


def test_max_concurrency_admits_elements_in_order_as_others_end() -> None:
    scene = Scene(flat(each_action(max_concurrency=2)), listed(1, 2, 3, 4))
    assert scene.flying() == {"m[0]", "m[1]"}
    held = scene.topology.index["m[2]"]
    assert hold_of(scene.saga, held) == "the map holds it: max_concurrency, 2 elements run"
    assert progress_of(scene.saga, scene.topology.index["m"]) == "its elements: 0 of 4 have ended"
    scene.succeed("m[1]")
    assert scene.flying() == {"m[0]", "m[2]"}
    scene.crash([("m[0]", Kind.ACTION, 1), ("m[2]", Kind.ACTION, 1)])
    scene.succeed("m[0]", "m[2]", "m[3]")
    assert scene.state() is SagaState.SUCCEEDED


def test_canaries_succeed_before_the_rest_starts() -> None:
    scene = Scene(flat(each_action(canary=2)), listed(1, 2, 3, 4))
    assert scene.flying() == {"m[0]", "m[1]"}
    scene.succeed("m[1]")
    assert scene.flying() == {"m[0]"}
    assert "canary, 1 of" in hold_of(scene.saga, scene.topology.index["m[3]"])
    scene.succeed("m[0]")
    assert scene.flying() == {"m[2]", "m[3]"}


def test_a_canary_that_fails_fails_the_node_whatever_may_fail() -> None:
    scene = Scene(flat(each_action(canary=1, max_failures=5)), listed(1, 2))
    scene.fail("m[0]")
    assert scene.state() is SagaState.UNWOUND
    assert not scene.invocations("m[1]")


@pytest.mark.parametrize(("failures", "state"), [(2, SagaState.SUCCEEDED), (3, SagaState.UNWINDING)])
def test_so_many_elements_may_fail_and_not_one_more(failures: int, state: SagaState) -> None:
    scene = Scene(flat(each_action(max_failures=2)), listed(1, 2, 3, 4))
    scene.succeed("m[3]", output=number(4))
    scene.fail(*(f"m[{i}]" for i in range(failures)))
    scene.succeed(*(f"m[{i}]" for i in range(failures, 3)))
    assert scene.state() is state
    if state is SagaState.UNWINDING:
        assert scene.flying() == {"undo m[3]"}
        scene.undo("m[3]")
        assert scene.state() is SagaState.UNWOUND


def test_an_element_that_fell_is_null_in_the_list() -> None:
    scene = Scene(flat(each_action(max_failures=1), taker()), listed(1, 2))
    scene.fail("m[0]")
    scene.succeed("m[1]", output=number(5))
    assert scene.invocations("z")[0].inputs == (("given", Payload(json="[null,5]")),)


def test_an_element_that_fails_is_undone_by_itself_while_others_go_on() -> None:
    inner = (action("x"), action("y", "x"))
    scene = Scene(flat(each_subsaga(*inner, max_failures=1, max_concurrency=2)), listed(1, 2, 3))
    scene.succeed("m[0]/x", "m[1]/x")
    scene.fail("m[0]/y")
    assert scene.flying() == {"undo m[0]/x", "m[1]/y"}
    assert scene.invocations("m[0]/x", UNDO)[0].saga_failure is not None
    scene.crash([("m[0]/x", UNDO, 1), ("m[1]/y", Kind.ACTION, 1)])
    scene.undo("m[0]/x")
    assert scene.flying() == {"m[1]/y", "m[2]/x"}, "its place is free once it is undone"
    scene.succeed("m[1]/y", "m[2]/x", "m[2]/y")
    assert scene.state() is SagaState.SUCCEEDED
    assert fold(scene.graph_topology, scene.log, listed(1, 2, 3)).retreating


def test_when_the_saga_turns_later_what_fell_stays_as_it_is() -> None:
    inner = (action("x"), action("y", "x"))
    scene = Scene(flat(each_subsaga(*inner, max_failures=1), action("z", "m")), listed(1, 2))
    scene.succeed("m[0]/x", "m[1]/x", "m[1]/y")
    scene.fail("m[0]/y")
    scene.undo("m[0]/x")
    scene.fail("z")
    assert scene.flying() == {"undo m[1]/y"}
    scene.undo("m[1]/y", "m[1]/x")
    assert scene.state() is SagaState.UNWOUND
    assert len(scene.invocations("m[0]/x", UNDO)) == 1


def test_two_elements_fail_at_once() -> None:
    """One of them may; the other turns the saga, in the same turn."""
    scene = Scene(flat(each_action(max_failures=1)), listed(1, 2, 3))
    scene.turn(scene.result("m[0]", given=failure()), scene.result("m[1]", given=failure()))
    assert scene.state() is SagaState.UNWINDING
    assert scene.flying() == {"m[2]"}, "what runs is waited for"
    scene.succeed("m[2]")
    scene.undo("m[2]")
    assert scene.state() is SagaState.UNWOUND


def test_an_inner_failure_that_is_one_too_many_fells_the_outer_element() -> None:
    nodes = (action("x"), each_action("in", params(), "x", max_failures=1))
    scene = Scene(flat(each_subsaga(*nodes, max_failures=1)), Payload(json="[[1,2,3],[4]]"))
    scene.succeed("m[0]/x", "m[1]/x", "m[0]/in[0]")
    scene.fail("m[0]/in[1]")
    assert scene.state() is SagaState.RUNNING
    scene.fail("m[0]/in[2]")
    assert scene.flying() == {"undo m[0]/in[0]", "m[1]/in[0]"}
    scene.undo("m[0]/in[0]", "m[0]/x")
    scene.succeed("m[1]/in[0]")
    assert scene.state() is SagaState.SUCCEEDED


def test_elements_are_undone_in_parallel_before_what_gave_the_list() -> None:
    scene = Scene(flat(action("a"), each_action("m", output_of("a")), action("z", "m")))
    scene.succeed("a", output=listed(1, 2))
    scene.succeed("m[0]", "m[1]")
    scene.fail("z")
    assert scene.flying() == {"undo m[0]", "undo m[1]"}
    scene.undo("m[1]", "m[0]")
    assert scene.flying() == {"undo a"}


def test_an_undo_of_one_element_that_fails_makes_the_saga_stuck_and_others_go_on() -> None:
    inner = (action("x"), action("y", "x"))
    scene = Scene(flat(each_subsaga(*inner, max_failures=1)), listed(1, 2))
    scene.succeed("m[0]/x", "m[1]/x")
    scene.fail("m[0]/y")
    scene.undo_fails("m[0]/x")
    scene.succeed("m[1]/y")
    assert scene.state() is SagaState.STUCK
    scene.order("m[0]/x", Resolution.MARK_UNDONE)
    assert scene.state() is SagaState.SUCCEEDED


def test_a_breakpoint_can_be_set_at_an_element_that_is_still_to_come() -> None:
    scene = Scene(flat(action("a"), each_subsaga(action("x"), items=output_of("a"))))
    assert scene.stop_at("m[1]/x").refusal is None
    for wrong in ("m[1]/y", "m[x]", "a[1]", "m[1"):
        assert scene.stop_at(wrong).refusal is not None
    scene.succeed("a", output=listed(1, 2))
    assert scene.flying() == {"m[0]/x"}
    scene.stop_at("m")
    assert scene.flying() == {"m[0]/x"}
    scene.stop_at()
    assert scene.flying() == {"m[0]/x", "m[1]/x"}


def test_a_thousand_elements_start_in_several_appends() -> None:
    scene = Scene(flat(each_action()), listed(*range(ENTRIES + 10)))
    assert len(scene.flying()) == ENTRIES - 1
    while scene.saga.woken:
        scene.turn()
    assert len(scene.flying()) == ENTRIES + 10


def test_a_list_that_is_more_than_a_payload_holds_is_taken_by_a_path() -> None:
    big = Payload(json=f'{{"text":"{"x" * 150_000}","id":3}}')
    scene = Scene(flat(each_action(), taker("z", "m", "1", "id"), taker("w")), listed(1, 2))
    scene.succeed("m[0]", "m[1]", output=big)
    failed = [entry for entry in scene.entries() if isinstance(entry, NodeFailed)]
    assert [(entry.node, entry.failure.type) for entry in failed] == [("w", "sagaline.InputUnavailable")]
    alone = Scene(flat(each_action(), taker("z", "m", "1", "id")), listed(1, 2))
    alone.succeed("m[0]", "m[1]", output=big)
    assert alone.invocations("z")[0].inputs == (("given", number(3)),)


def test_bytes_are_an_object_in_the_list() -> None:
    scene = Scene(flat(each_action(), taker()), listed(1))
    scene.succeed("m[0]", output=Payload(data=b"abc", encoding="binary/x"))
    (given,) = (value for _, value in scene.invocations("z")[0].inputs)
    assert given.json == '[{"data":"YWJj","encoding":"binary/x","metadata":{}}]'


def test_the_topology_of_the_graph_is_shared_and_never_grows() -> None:
    shared = flat(each_action())
    one, other = Scene(shared, listed(1)), Scene(shared, listed(1, 2))
    assert (len(shared.nodes), len(one.topology.nodes), len(other.topology.nodes)) == (1, 2, 3)
    assert Scene(flat(action("a"))).saga.topology.order == ()


def test_constants_and_joins_inside_elements_pass_by_themselves() -> None:
    inner = (Node("c", ConstantNode(number(1))), subsaga("s", constant("d"), after=("c",)))
    scene = Scene(flat(each_subsaga(*inner, max_concurrency=1), taker()), listed(1, 2, 3))
    assert scene.flying() == {"z"}


def test_what_creation_refuses() -> None:
    pivot = MapNode(params(), ActionNode("do.p", undo=UndoKind.NONE, pivot=True))
    cases = {
        "NO_KIND": MapNode(params(), None),
        "NO_SOURCE": MapNode(InputRef(), ActionNode("a")),
        "NOT_A_LIST": MapNode(InputRef(literal=number(1)), ActionNode("a")),
        "PIVOT_IN_MAP": pivot,
        "OUT_OF_RANGE": MapNode(params(), ActionNode("a"), max_failures=-1),
        "UNKNOWN_NODE": MapNode(output_of("nobody"), ActionNode("a")),
    }
    for reason, body in cases.items():
        assert reason in [problem.reason for problem in check_graph(graph(Node("m", body)))], reason
    twice = MapNode(params(), ActionNode("a", inputs=(("item", params()),)))
    given = MapNode(params(), SubsagaNode(graph(action("x")), params()))
    for body in (twice, given):
        assert [problem.reason for problem in check_graph(graph(Node("m", body)))] == ["NOT_ALLOWED"]


def test_what_a_map_does_is_content() -> None:
    bodies = [
        MapNode(params(), ActionNode("a")),
        MapNode(params(), ActionNode("b")),
        MapNode(params("x"), ActionNode("a")),
        MapNode(params(), ActionNode("a"), max_concurrency=1),
        MapNode(params(), ActionNode("a"), canary=1),
        MapNode(params(), ActionNode("a"), max_failures=1),
        MapNode(params(), ActionNode("a"), item="x"),
    ]
    assert len({graph_digest(graph(Node("m", body))) for body in bodies}) == len(bodies)


def test_after_a_pivot_a_map_without_a_list_is_held_and_its_output_supplied() -> None:
    pay = Node("pay", ActionNode("do.pay", undo=UndoKind.NONE, pivot=True))
    each = ActionNode("do.each", undo=UndoKind.NOOP)
    scene = Scene(flat(pay, Node("m", MapNode(output_of("pay"), each))))
    scene.succeed("pay", output=number(1))
    assert scene.are(m="HELD")
    assert scene.order("m", Resolution.RETRY).refusal is not None
    scene.order("m", Resolution.SUPPLY_OUTPUT, listed())
    assert scene.state() is SagaState.SUCCEEDED


def test_the_fold_of_the_log_is_the_live_state() -> None:
    scene = Scene(flat(each_action(max_failures=1)), listed(1, 2, 3))
    scene.fail("m[0]")
    scene.succeed("m[2]")
    assert snapshot(fold(scene.graph_topology, scene.log, listed(1, 2, 3))) == snapshot(scene.saga)
    assert isinstance(scene.result("m[1]"), Result)
