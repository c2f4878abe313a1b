"""Maps in the graph builder: what it makes of them, and what it refuses."""

from __future__ import annotations

from dataclasses import dataclass
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
