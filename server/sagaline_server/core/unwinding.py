"""What follows from a failure by itself: the saga turns, and what depends on nothing any more settles.

Called by `apply` alone. When the saga turns, `waiting[n]` becomes the number of
children that are not settled; at zero a node may be undone.
"""

from __future__ import annotations

from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import Event, NodeStatus, follow
from sagaline_server.core.values import Failure


def turn(saga: Saga, failed: int | None, failure: Failure) -> None:
    """Begin to unwind, unless it has begun: what never ran is abandoned, and counts now run backwards."""
    if saga.unwinding:
        return
    saga.unwinding = True
    saga.failure = failure
    nodes = saga.topology.nodes
    saga.remaining = len(nodes)
    saga.waiting = [len(flat.children) for flat in nodes]
    for node in range(len(nodes) - 1, -1, -1):
        if node != failed and saga.statuses[node] == NodeStatus.PENDING:
            settle(saga, node, follow(NodeStatus.PENDING, Event.ABANDON))
    saga.woken.extend(range(len(nodes) - 1, -1, -1))
    for node in range(len(nodes) - 1, -1, -1):
        if _is_undoable_instant(saga, node):
            settle(saga, node, follow(saga.statuses[node], Event.UNDO))


def settle(saga: Saga, first: int, status: NodeStatus) -> None:
    """Settle a node, and the instant nodes that are undone because of it."""
    saga.statuses[first] = status
    done = [first]
    while done:
        node = done.pop()
        saga.remaining -= 1
        for parent in saga.topology.nodes[node].parents:
            saga.waiting[parent] -= 1
            if saga.waiting[parent]:
                continue
            if _is_undoable_instant(saga, parent):
                saga.statuses[parent] = follow(saga.statuses[parent], Event.UNDO)
                done.append(parent)
            else:
                saga.woken.append(parent)


def _is_undoable_instant(saga: Saga, node: int) -> bool:
    return (
        saga.topology.nodes[node].action is None
        and saga.statuses[node] == NodeStatus.SUCCEEDED
        and not saga.waiting[node]
    )
