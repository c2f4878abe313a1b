"""The point of no return, checked at creation: what comes before it can be undone, what comes after it never fails.

The shape is that of flexible transactions: compensatable nodes, at most one
pivot, then nodes that are tried again until they succeed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagaline_server.core.graph import ACTION_RETRY, ActionNode, Graph, SubsagaNode, UndoKind
from sagaline_server.core.problems import Problem
from sagaline_server.core.topology import FlatNode, Topology, flatten


def check_pivot(graph: Graph, field: str) -> list[Problem]:
    """Check the pivot of a graph that is right otherwise; nothing where it has none."""
    return list(_check(flatten(graph, b""), f"{field}.nodes")) if _has_pivot(graph) else []


def pivot_of(body: ActionNode | SubsagaNode) -> bool:
    """True when a body is a pivot or has one inside."""
    return body.pivot if isinstance(body, ActionNode) else _has_pivot(body.graph)


def _has_pivot(graph: Graph) -> bool:
    return any(pivot_of(node.body) for node in graph.nodes if isinstance(node.body, ActionNode | SubsagaNode))


def _check(topology: Topology, field: str) -> Iterator[Problem]:
    pivots = [i for i, node in enumerate(topology.nodes) if node.action is not None and node.action.pivot]
    first = topology.nodes[pivots[0]].name
    for other in pivots[1:]:
        name = topology.nodes[other].name
        yield Problem(field, "SECOND_PIVOT", f"a saga has one pivot at most; {first!r} is one, too", name)
    before = _ancestors(topology, pivots[0])
    for i, node in enumerate(topology.nodes):
        if i not in before:
            yield from _check_after(node, node.name, first, field)


def _check_after(node: FlatNode, name: str, pivot: str, field: str) -> Iterator[Problem]:
    """Check a node that does not come before the pivot, and all that would be of its elements if it is a map."""
    if node.timeout is not None:
        message = f"after the pivot {pivot!r} nothing may fail: let it wait for ever"
        yield Problem(field, "BOUNDED_AFTER_PIVOT", message, name)
    if node.map is not None:
        for inner in node.map.template.nodes:
            yield from _check_after(inner, f"{name}[]{inner.name}", pivot, field)
    action = node.action
    if action is None or action.pivot or action.undo is UndoKind.NOOP:
        return
    if action.undo is UndoKind.ACTION:
        message = f"it has an undo action and does not come before the pivot {pivot!r}; nothing is undone after that"
        yield Problem(field, "UNDO_AFTER_PIVOT", message, name)
    elif _is_bounded(action):
        message = f"after the pivot {pivot!r} it has to succeed some time: leave its retries without bound"
        yield Problem(field, "BOUNDED_AFTER_PIVOT", message, name)


def _ancestors(topology: Topology, node: int) -> set[int]:
    found: set[int] = set()
    left = list(topology.nodes[node].parents)
    while left:
        parent = left.pop()
        if parent not in found:
            found.add(parent)
            left.extend(topology.nodes[parent].parents)
    return found


def _is_bounded(action: ActionNode) -> bool:
    retry = action.retry
    is_counted = retry.max_attempts not in (0, ACTION_RETRY.max_attempts)
    return is_counted or retry.total_timeout is not None or bool(retry.non_retryable)
