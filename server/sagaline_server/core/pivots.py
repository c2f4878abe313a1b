"""The point of no return, checked at creation: what comes before it can be undone, what comes after it never fails.

The shape is that of flexible transactions: compensatable nodes, at most one
pivot, then nodes that are tried again until they succeed.
"""

from __future__ import annotations

from collections.abc import Iterator

from sagaline_server.core.graph import ACTION_RETRY, ActionNode, Graph, SubsagaNode, UndoKind
from sagaline_server.core.problems import Problem
from sagaline_server.core.topology import Topology, flatten


def check_pivot(graph: Graph, field: str) -> list[Problem]:
    """Check the pivot of a graph that is right otherwise; nothing where it has none."""
    return list(_check(flatten(graph, b""), f"{field}.nodes")) if _has_pivot(graph) else []


def _has_pivot(graph: Graph) -> bool:
    return any(
        node.body.pivot if isinstance(node.body, ActionNode) else _has_pivot(node.body.graph)
        for node in graph.nodes
        if isinstance(node.body, ActionNode | SubsagaNode)
    )


def _check(topology: Topology, field: str) -> Iterator[Problem]:
    pivots = [i for i, node in enumerate(topology.nodes) if node.action is not None and node.action.pivot]
    first = topology.nodes[pivots[0]].name
    for other in pivots[1:]:
        name = topology.nodes[other].name
        yield Problem(field, "SECOND_PIVOT", f"a saga has one pivot at most; {first!r} is one, too", name)
    before = _ancestors(topology, pivots[0])
    for i, node in enumerate(topology.nodes):
        action = node.action
        if node.timeout is not None and i not in before:
            message = f"after the pivot {first!r} nothing may fail: let it wait for ever"
            yield Problem(field, "BOUNDED_AFTER_PIVOT", message, node.name)
        if action is None or i in before or action.pivot or action.undo is UndoKind.NOOP:
            continue
        if action.undo is UndoKind.ACTION:
            message = (
                f"it has an undo action and does not come before the pivot {first!r}; nothing is undone after that"
            )
            yield Problem(field, "UNDO_AFTER_PIVOT", message, node.name)
        elif _is_bounded(action):
            message = f"after the pivot {first!r} it has to succeed some time: leave its retries without bound"
            yield Problem(field, "BOUNDED_AFTER_PIVOT", message, node.name)


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
