"""The SDK and the server say the same: limits, and what is refused of a graph for which reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sagaline import GraphBuilder, RetryPolicy, UndoPolicy, action, limits
from sagaline.errors import GraphError
from sagaline.v1 import saga_pb2
from sagaline_server.core import limits as server_limits
from sagaline_server.core.validate import check_graph
from sagaline_server.wire.specs import graph_from

SAME = [name for name in vars(limits) if name.isupper() and hasattr(server_limits, name)]


@pytest.mark.parametrize("name", SAME)
def test_limits_agree(name: str) -> None:
    assert getattr(limits, name) == getattr(server_limits, name)


def test_most_limits_are_compared() -> None:
    assert {"PAYLOAD_BYTES", "GRAPH_NODES", "NODE_NAME_CHARS", "PATH_ELEMENTS", "SUBSAGA_DEPTH"} <= set(SAME)


@action
def take(number: int) -> dict[str, int]:
    return {"number": number}


@take.undo
def give() -> None: ...


def names_of(length: int) -> str:
    return "n" * length


def test_what_the_builder_makes_the_server_accepts() -> None:
    inner = GraphBuilder("inner", params=int)
    graph = inner.build(result=inner.add("take", take, inner.params, undo=UndoPolicy.noop()))
    g = GraphBuilder(names_of(128), params=int)
    first = g.add(names_of(64), take, 3, retry=RetryPolicy(max_attempts=1_000_000, multiplier=100, jitter=1))
    second = g.add("second", take, first.select(lambda output: output["number"]), after=[g.constant("c", 1)])
    g.subsaga("sub", graph, second.select(lambda output: output["x" * 128]))
    assert check_graph(graph_from(g.build(result=second).to_proto())) == []


def reason_here(build: Callable[[GraphBuilder[Any]], object]) -> str:
    g = GraphBuilder("g", params=Any)
    with pytest.raises(GraphError) as caught:
        build(g)
    return caught.value.problems[0].reason


def reason_there(graph: saga_pb2.Graph) -> str:
    return check_graph(graph_from(graph))[0].reason


def constant(name: str, *after: str) -> saga_pb2.Node:
    return saga_pb2.Node(name=name, after=after, constant=saga_pb2.ConstantNode())


def twice(g: GraphBuilder[Any]) -> None:
    g.constant("a", 1)
    g.constant("a", 1)


def deep(levels: int) -> saga_pb2.Graph:
    nodes = (
        [saga_pb2.Node(name="s", subsaga=saga_pb2.SubsagaNode(graph=deep(levels - 1)))] if levels else [constant("c")]
    )
    return saga_pb2.Graph(name="g", nodes=nodes)


def build_deep(g: GraphBuilder[Any]) -> None:
    g.constant("c", 1)
    graph = g.build()
    for _ in range(server_limits.SUBSAGA_DEPTH + 1):
        outer = GraphBuilder("g", params=Any)
        outer.subsaga("s", graph, None)
        graph = outer.build()


def with_path(path: list[str]) -> saga_pb2.Graph:
    source = saga_pb2.InputSource(params=saga_pb2.ParamsSource(), path=path)
    action_node = saga_pb2.ActionNode(action="take", inputs={"number": source})
    return saga_pb2.Graph(name="g", nodes=[saga_pb2.Node(name="n", action=action_node)])


@pytest.mark.parametrize(
    ("build", "graph"),
    [
        (lambda g: g.build(), saga_pb2.Graph(name="g")),
        (lambda _: GraphBuilder("a b"), saga_pb2.Graph(name="a b", nodes=[constant("a")])),
        (lambda g: g.constant("1", 1), saga_pb2.Graph(name="g", nodes=[constant("1")])),
        (twice, saga_pb2.Graph(name="g", nodes=[constant("a"), constant("a")])),
        (
            lambda g: g.add("n", take, 1, after=[GraphBuilder("other").constant("x", 1)]),
            saga_pb2.Graph(name="g", nodes=[constant("n", "x")]),
        ),
        (build_deep, deep(server_limits.SUBSAGA_DEPTH + 1)),
        (lambda g: g.params.select(lambda p: p.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a), with_path(["a"] * 17)),
        (lambda g: g.params.select(lambda p: p["x" * 129]), with_path(["x" * 129])),
    ],
    ids=["empty", "graph name", "node name", "duplicate", "unknown", "deep", "path", "path element"],
)
def test_both_refuse_for_the_same_reason(build: Callable[[GraphBuilder[Any]], object], graph: saga_pb2.Graph) -> None:
    assert reason_here(build) == reason_there(graph)
