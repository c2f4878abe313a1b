"""Small graphs for tests that name their nodes."""

from __future__ import annotations

from sagaline_server.core.digest import graph_digest
from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
    Graph,
    InputRef,
    Node,
    RetryPolicy,
    SagaSpec,
    SubsagaNode,
    UndoKind,
)
from sagaline_server.core.topology import Topology, flatten
from sagaline_server.core.validate import check_graph
from sagaline_server.core.values import NULL, Payload

PATIENT = RetryPolicy(max_attempts=0, initial_backoff=1.0, max_backoff=8.0, jitter=0.0)
"""Tries without bound, 1, 2, 4, 8, 8 ... seconds apart."""
ONCE = RetryPolicy(max_attempts=1)


def action(
    name: str,
    *after: str,
    retry: RetryPolicy = PATIENT,
    undo_retry: RetryPolicy = PATIENT,
    undo: UndoKind = UndoKind.ACTION,
    **inputs: InputRef,
) -> Node:
    """A node that a worker runs, after other nodes."""
    body = ActionNode(
        action=f"do.{name}",
        inputs=tuple(inputs.items()),
        undo=undo,
        retry=retry,
        undo_retry=undo_retry,
    )
    return Node(name, body, after)


def constant(name: str, value: str = "1", *after: str) -> Node:
    return Node(name, ConstantNode(Payload(json=value)), after)


def subsaga(name: str, *nodes: Node, after: tuple[str, ...] = (), params: InputRef | None = None) -> Node:
    return Node(name, SubsagaNode(Graph(f"{name}-graph", nodes), params), after)


def output_of(node: str, *path: str) -> InputRef:
    return InputRef(node=node, path=path)


def params(*path: str) -> InputRef:
    return InputRef(params=True, path=path)


def graph(*nodes: Node, result: str = "") -> Graph:
    return Graph("sample", nodes, result)


def spec(*nodes: Node, saga_id: str = "saga-1", params: Payload = NULL) -> SagaSpec:
    return SagaSpec(saga_id, graph(*nodes), params)


def flat(*nodes: Node, result: str = "") -> Topology:
    """Flatten a graph of these nodes, which has to be valid."""
    return flatten_valid(graph(*nodes, result=result))


def flatten_valid(valid: Graph) -> Topology:
    problems = check_graph(valid)
    assert not problems, problems
    return flatten(valid, graph_digest(valid))


def chain(*names: str) -> Topology:
    """Each node after the one before it."""
    return flat(*(action(name, *names[max(i - 1, 0) : i]) for i, name in enumerate(names)))


def join() -> Topology:
    """a and b beside each other, then c: the smallest graph with a join."""
    return flat(action("a"), action("b"), action("c", "a", "b"))


def beside(*names: str) -> Topology:
    """Nodes that know nothing of each other."""
    return flat(*(action(name) for name in names))
