"""What follows from a failure by itself: the saga turns, and what depends on nothing any more settles.

Called by `apply` alone. When the saga turns, `waiting[n]` becomes the number of
children that are not settled; at zero a node may be undone. An element that its
map can do without turns alone: so do the counts of its nodes, and theirs only.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from sagaline_server.core import passing
from sagaline_server.core.growth import members
from sagaline_server.core.maps import scope
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import SETTLED, STATUSES, Event, NodeStatus, follow
from sagaline_server.core.values import Failure


def turn_for(saga: Saga, failed: int, failure: Failure, time: float) -> None:
    """Begin to unwind what a node's failure makes unwind, unless it has begun."""
    if saga.unwinds(failed):
        return
    element = scope(saga, failed)
    if element is None:
        saga.failed_node = failed
        turn(saga, failed, failure, time)
    else:
        _fall(saga, element, failed, failure, time)


def turn(saga: Saga, failed: int | None, failure: Failure, time: float) -> None:
    """Begin to unwind the saga: what never ran is abandoned, and counts now run backwards."""
    saga.unwinding = True
    saga.failure = failure
    saga.falling = {}
    nodes = saga.topology.nodes
    saga.remaining = len(nodes)
    saga.waiting = [len(flat.children) for flat in nodes]
    _turn_back(saga, range(len(nodes)), failed, time)


def _fall(saga: Saga, element: int, failed: int, failure: Failure, time: float) -> None:
    """Begin to unwind an element by itself; elements inside it that do so already go on as a part of that."""
    node, inside = saga.topology.elements[element].map, members(saga.topology, element)
    saga.remaining += sum(_has_ended(saga, inner) for inner in inside)
    saga.retreating |= frozenset(inside)
    saga.fallen = {**saga.fallen, element: failure}
    nodes, elements = saga.topology.nodes, saga.topology.elements
    saga.falling = {other: left for other, left in saga.falling.items() if not _is_within(saga, other, element)}
    saga.falling[element] = len(inside)
    run = saga.maps[node]
    saga.maps[node] = msgspec.structs.replace(run, failures=run.failures + 1)
    for inner in inside:
        saga.waiting[inner] = len(nodes[inner].children)
    saga.waiting[elements[element].end] = 0
    _turn_back(saga, inside, failed, time)


def _is_within(saga: Saga, inner: int, element: int) -> bool:
    one: int | None = inner
    while one is not None and one != element:
        one = saga.topology.nodes[saga.topology.elements[one].map].element
    return one == element


def _has_ended(saga: Saga, node: int) -> bool:
    """True when going forward asks nothing more of a node."""
    status = STATUSES[saga.statuses[node]]
    return status in SETTLED if node in saga.retreating else status is NodeStatus.SUCCEEDED


def _turn_back(saga: Saga, inside: Sequence[int], failed: int | None, time: float) -> None:
    """Settle what has nothing to undo, of nodes whose counts run backwards now."""
    if saga.retreating:
        for node in inside:
            if saga.statuses[node] in SETTLED:
                settle(saga, node, STATUSES[saga.statuses[node]], time)
    for node in reversed(inside):
        if node != failed and saga.statuses[node] == NodeStatus.PENDING:
            settle(saga, node, follow(NodeStatus.PENDING, Event.ABANDON), time)
    saga.woken.extend(reversed(inside))
    for node in reversed(inside):
        if _is_undoable_instant(saga, node):
            settle(saga, node, follow(saga.statuses[node], Event.UNDO), time)


def settle(saga: Saga, first: int, status: NodeStatus, time: float) -> None:
    """Settle a node, and the instant nodes that are undone because of it."""
    saga.statuses[first] = status
    done = [first]
    while done:
        node = done.pop()
        saga.remaining -= 1
        for parent in saga.topology.nodes[node].parents:
            if not saga.unwinding and parent not in saga.retreating:
                continue  # an element falls alone
            saga.waiting[parent] -= 1
            if saga.waiting[parent]:
                continue
            if _is_undoable_instant(saga, parent):
                saga.statuses[parent] = follow(saga.statuses[parent], Event.UNDO)
                done.append(parent)
            else:
                saga.woken.append(parent)
        if saga.falling:
            _count_fall(saga, node, time)


def undo_if_instant(saga: Saga, node: int, time: float) -> None:
    """Undo a node that needs nobody's doing for it, if nothing depends on it any more."""
    if _is_undoable_instant(saga, node):
        settle(saga, node, follow(saga.statuses[node], Event.UNDO), time)


def _count_fall(saga: Saga, node: int, time: float) -> None:
    """Count a node of an element that falls; with the last one the element has ended."""
    element = saga.topology.nodes[node].element
    while element is not None and element not in saga.falling:
        element = saga.topology.nodes[saga.topology.elements[element].map].element
    if element is None:
        return
    saga.falling[element] -= 1
    if not saga.falling[element]:
        del saga.falling[element]
        passing.fallen(saga, element, time)


def _is_undoable_instant(saga: Saga, node: int) -> bool:
    return (
        saga.topology.nodes[node].action is None
        and saga.statuses[node] == NodeStatus.SUCCEEDED
        and not saga.waiting[node]
    )
