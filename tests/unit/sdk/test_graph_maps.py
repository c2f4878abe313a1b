"""Maps in the graph builder: what it makes of them, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from sagaline import GraphBuilder, action
from sagaline.errors import GraphError
from sagaline.v1 import saga_pb2
from sagaline_server.core.validate import check_graph
from sagaline_server.wire.specs import graph_from


@dataclass
class Host:
    name: str


@dataclass
class Plan:
    hosts: list[Host]
    zone: str


@action("boot")
def boot(host: Host, zone: str) -> int:
    return len(host.name + zone)


@boot.undo
def stop() -> None: ...


def make(**limits: Any) -> saga_pb2.Graph:
    g = GraphBuilder("fleet", params=Plan)
    booted = g.map("hosts", boot, lambda plan: plan.zone, over=lambda plan: plan.hosts, **limits)
    return g.build(result=booted).to_proto()


def test_a_map_of_an_action_names_the_input_that_is_the_element() -> None:
    made = make(max_concurrency=3, canary=1, max_failures=2).nodes[0].map
    assert (made.item, made.action.action, sorted(made.action.inputs)) == ("host", "boot", ["zone"])
    assert list(made.items.path) == ["hosts"]
    assert (made.max_concurrency, made.canary, made.max_failures) == (3, 1, 2)


def test_the_server_takes_what_the_builder_makes() -> None:
    assert check_graph(graph_from(make())) == []


def test_a_map_of_a_graph_has_elements_as_its_parameters() -> None:
    inner = GraphBuilder("one", params=Host)
    inner.add("boot", boot, inner.params, "z1")
    g = GraphBuilder("fleet", params=Plan)
    hosts = g.map("hosts", inner.build(), over=g.params.select(lambda plan: plan.hosts))
    graph = g.build(result=hosts)
    assert graph.depth == 1
    assert graph.to_proto().nodes[0].map.subsaga.graph.name == "one"
    assert check_graph(graph_from(graph.to_proto())) == []


def test_what_does_not_fit_is_refused() -> None:
    g = GraphBuilder("fleet", params=Plan)
    zone = g.params.select(lambda plan: plan.zone)
    with pytest.raises(GraphError) as wrong:
        g.map("a", boot, over=g.params.select(lambda plan: plan.hosts))  # type: ignore[arg-type]
    assert wrong.value.problems[0].reason == "WRONG_INPUTS"
    with pytest.raises(GraphError) as wrong:
        g.map("b", boot, zone, over=zone)  # type: ignore[arg-type]
    assert wrong.value.problems[0].reason == "TYPE_MISMATCH"
    with pytest.raises(GraphError) as wrong:
        g.map("c", boot, zone, over=[Host("h")], canary=-1)
    assert wrong.value.problems[0].reason == "OUT_OF_RANGE"


@action("label")
def label(host: Host, number: int, zone: str) -> str:
    return f"{zone}-{number}-{host.name}"


@label.undo
def unlabel() -> None: ...


def test_the_index_of_an_element_is_one_of_the_inputs() -> None:
    g = GraphBuilder("fleet", params=Plan)
    g.map("labels", label, g.index, lambda plan: plan.zone, over=lambda plan: plan.hosts)
    made = g.build().to_proto()
    assert (made.nodes[0].map.index, sorted(made.nodes[0].map.action.inputs)) == ("number", ["zone"])
    assert check_graph(graph_from(made)) == []
    assert repr(g.index) == "<Ref index of an element>"


def test_the_index_of_an_element_is_for_one_input_of_a_map_alone() -> None:
    g = GraphBuilder("fleet", params=Plan)
    other = GraphBuilder("other", params=Plan)
    wrong_kind: Any = g.index
    host = g.constant("host", Host("h"))
    for wrong, reason in (
        (lambda: g.add("a", label, host, g.index, "z"), "NOT_ALLOWED"),
        (lambda: g.map("b", label, g.index, wrong_kind, over=lambda plan: plan.hosts), "NOT_ALLOWED"),
        (lambda: g.map("c", boot, wrong_kind, over=lambda plan: plan.hosts), "TYPE_MISMATCH"),
        (lambda: g.map("d", label, other.index, "z", over=lambda plan: plan.hosts), "UNKNOWN_NODE"),
        (lambda: g.delay("e", timedelta(0), after=[g.index]), "NOT_A_NODE"),
    ):
        with pytest.raises(GraphError) as refused:
            wrong()
        assert refused.value.problems[0].reason == reason


def test_the_list_of_a_map_some_of_which_may_fail_has_none_for_them() -> None:
    g = GraphBuilder("fleet", params=Plan)
    hosts = g.params.select(lambda plan: plan.hosts)
    assert g.map("all", boot, "z", over=hosts).type == list[int]
    some = g.map("some", boot, "z", over=hosts, max_failures=1)
    assert some.type == list[int | None]
    with pytest.raises(GraphError) as refused:
        g.add("sum", add_up, some)  # type: ignore[arg-type]
    assert refused.value.problems[0].reason == "TYPE_MISMATCH"


@action("add_up")
def add_up(numbers: list[int]) -> int:
    return sum(numbers)


@add_up.undo
def forget() -> None: ...
