"""Reading maps: the elements of a list, what an element's failure makes unwind, and the list that a map gives."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from sagaline_server.core import limits
from sagaline_server.core.growth import members
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import WITHOUT_EFFECT, NodeStatus
from sagaline_server.core.values import NULL, Failure, Payload, elements_of


def list_of(saga: Saga, node: int) -> tuple[Payload, ...]:
    """Return the elements of the list of a map node whose parents have succeeded.

    Raises:
        SelectionError: It has none.
    """
    items = saga.topology.nodes[node].items
    assert items is not None
    return elements_of(saga.resolve(items))


def scope(saga: Saga, node: int) -> int | None:
    """Return the element that unwinds if a node fails now; None: the saga does.

    It is the innermost that its map can do without: not one of the first ones, its canaries, and not one more than
    may fail.
    """
    topology = saga.topology
    element = topology.nodes[node].element
    while element is not None:
        one = topology.elements[element]
        plan = topology.nodes[one.map].map
        if plan is not None and one.number >= plan.canary and saga.maps[one.map].failures < plan.max_failures:
            return element
        element = topology.nodes[one.map].element
    return None


def is_bound(saga: Saga, failing: int) -> bool:
    """True when what would unwind if a node failed can only go forward."""
    element = scope(saga, failing)
    if element is None:
        return saga.is_committed(failing)
    committing = set(saga.topology.committing)
    return bool(committing) and any(
        node != failing and node in committing and saga.statuses[node] not in WITHOUT_EFFECT
        for node in members(saga.topology, element)
    )


def fall_of(saga: Saga, node: int) -> Failure | None:
    """Return why the innermost element around a node fell; None: none has."""
    topology = saga.topology
    element = topology.nodes[node].element
    while element is not None and element not in saga.fallen:
        element = topology.nodes[topology.elements[element].map].element
    return None if element is None else saga.fallen[element]


def list_output(saga: Saga, node: int) -> Payload | None:
    """Return the list that a map gives: its elements' outputs in order, null for each that fell.

    None: it is more than a payload holds.
    """
    parts: list[str] = []
    size = 2
    for element in saga.topology.grown[node]:
        output = NULL
        if element not in saga.fallen:
            known = saga.known_output(saga.topology.elements[element].end)
            if known is None:
                return None
            output = known
        part = as_json(output)
        size += len(part.encode()) + 1
        if size > limits.PAYLOAD_BYTES:
            return None
        parts.append(part)
    return Payload(json=f"[{','.join(parts)}]")


def as_json(payload: Payload) -> str:
    """Return a payload as an element of a list: its JSON, or an object that has its bytes in base64."""
    if payload.data is None:
        return payload.json or "null"
    bare = {"data": b64encode(payload.data).decode(), "encoding": payload.encoding, "metadata": dict(payload.metadata)}
    return msgspec.json.encode(bare).decode()


def hold_of(saga: Saga, node: int) -> str:
    """Say for people why an element's node waits for its map; empty: it does not."""
    topology = saga.topology
    element = topology.nodes[node].element
    if element is None or saga.statuses[node] != NodeStatus.PENDING or saga.unwinds(node):
        return ""
    one = topology.elements[element]
    plan, run = topology.nodes[one.map].map, saga.maps[one.map]
    if plan is None or one.number < run.admitted or plan.template.nodes[node - one.first].parents:
        return ""
    if run.canaries and one.number >= plan.canary:
        return f"the map holds it: canary, {run.canaries} of the first elements have yet to succeed"
    return f"the map holds it: max_concurrency, {run.admitted - run.ended} elements run"


def progress_of(saga: Saga, node: int) -> str:
    """Say for people how far a map is; empty: it is no map at work."""
    if node not in saga.maps or saga.statuses[node] != NodeStatus.PENDING:
        return ""
    run, count = saga.maps[node], len(saga.topology.grown[node])
    failed = f", {run.failures} of them failed" if run.failures else ""
    return f"its elements: {run.ended} of {count} have ended{failed}"
