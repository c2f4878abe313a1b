"""What follows from a success by itself: parents are counted, and whatever needs nobody's doing passes.

Called by `apply` alone. Going forward, `waiting[n]` is the number of parents
that have not succeeded; at zero a node may start, wait, or pass. The first
nodes of an element wait for one thing more: that their map admits it.
"""

from __future__ import annotations

import msgspec

from sagaline_server.core import signals
from sagaline_server.core.growth import grow
from sagaline_server.core.maps import list_output
from sagaline_server.core.state import MapRun, Saga
from sagaline_server.core.transitions import Event, NodeStatus, follow
from sagaline_server.core.values import Payload


def passed(saga: Saga, first: int, time: float) -> None:
    """Count a success, and everything that passes by itself because of it."""
    done = [first]
    while done:
        node = done.pop()
        saga.remaining -= 1
        flat = saga.topology.nodes[node]
        for child in flat.children:
            saga.waiting[child] -= 1
            if not saga.waiting[child] and _passes(saga, child, time):
                done.append(child)
        if flat.element is not None and saga.topology.elements[flat.element].end == node:
            done += _element_ended(saga, flat.element, time, succeeded=True)


def unblocked(saga: Saga, node: int, time: float) -> None:
    """Let a node go on whose parents have all succeeded."""
    if _passes(saga, node, time):
        passed(saga, node, time)


def _passes(saga: Saga, node: int, time: float) -> bool:
    """Note that a node's parents have all succeeded; True where that makes it succeed too."""
    flat = saga.topology.nodes[node]
    if flat.action is not None:
        saga.woken.append(node)
        return False
    if flat.map is not None and node in saga.maps:
        output = list_output(saga, node)
        if output is not None:
            saga.outputs[node] = output
    elif flat.value is None and not (flat.signal is not None and signals.take(saga, node, flat.signal)):
        saga.waits[node] = time
        saga.woken.append(node)
        return False
    saga.statuses[node] = follow(saga.statuses[node], Event.PASS)
    return True


# ---- maps


def grown(saga: Saga, node: int, elements: tuple[Payload, ...], time: float) -> None:
    """Let a map have its elements, and admit those that may run."""
    old, count = saga.topology, len(elements)
    plan = old.nodes[node].map
    assert plan is not None
    saga.topology = grow(old, node, count)
    new = len(saga.topology.nodes) - len(old.nodes)
    saga.statuses.extend([NodeStatus.PENDING] * new)
    saga.waiting.extend([len(inner.parents) or 1 for inner in plan.template.nodes] * count)
    saga.waiting[node] = count
    saga.remaining += new
    saga.items = {**saga.items, node: elements}
    saga.maps = {**saga.maps, node: MapRun(canaries=min(plan.canary, count))}
    saga.waits.pop(node, None)
    if not count:
        unblocked(saga, node, time)
    for first in _admit(saga, node, time):
        passed(saga, first, time)


def fallen(saga: Saga, element: int, time: float) -> None:
    """Go on after an element that failed, and is undone, as after one that has succeeded."""
    for node in _element_ended(saga, element, time, succeeded=False):
        passed(saga, node, time)
    node = saga.topology.elements[element].map
    saga.waiting[node] -= 1
    if not saga.waiting[node]:
        unblocked(saga, node, time)


def _element_ended(saga: Saga, element: int, time: float, *, succeeded: bool) -> list[int]:
    """Admit what may run now instead; return those of its nodes that pass at once."""
    one = saga.topology.elements[element]
    plan, run = saga.topology.nodes[one.map].map, saga.maps[one.map]
    assert plan is not None
    is_canary = succeeded and one.number < plan.canary
    saga.maps[one.map] = msgspec.structs.replace(run, ended=run.ended + 1, canaries=run.canaries - is_canary)
    return _admit(saga, one.map, time)


def _admit(saga: Saga, node: int, time: float) -> list[int]:
    plan, run, elements = saga.topology.nodes[node].map, saga.maps[node], saga.topology.grown[node]
    assert plan is not None
    limit = min(
        len(elements),
        run.ended + plan.max_concurrency if plan.max_concurrency else len(elements),
        plan.canary if run.canaries else len(elements),
    )
    if limit <= run.admitted:
        return []
    saga.maps[node] = msgspec.structs.replace(run, admitted=limit)
    passing = []
    for element in elements[run.admitted : limit]:
        for root in plan.template.roots:
            first = saga.topology.elements[element].first + root
            saga.waiting[first] -= 1
            if not saga.waiting[first] and _passes(saga, first, time):
                passing.append(first)
    return passing
