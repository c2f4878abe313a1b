"""What the gate of a saga holds, and waiting until it holds something."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sagaline.cli.text import clean
from sagaline.client.states import is_final
from sagaline.v1 import log_pb2, saga_pb2

if TYPE_CHECKING:
    from sagaline.sync import Client

GATE = "the gate:"
"""How `NodeView.waiting_for` begins where the gate holds a node."""

PAUSED = "the saga is paused"
"""What `NodeView.waiting_for` says after that where it is a pause."""

POLL_S = 0.1

_IN_FLIGHT = (saga_pb2.NODE_STATUS_RUNNING, saga_pb2.NODE_STATUS_UNDOING)


def held_nodes(saga: saga_pb2.Saga) -> list[saga_pb2.NodeView]:
    """Return the nodes that could start now if the gate let them."""
    return [node for node in saga.nodes if node.waiting_for.startswith(GATE)]


def holds(saga: saga_pb2.Saga) -> list[str]:
    """Return what holds nodes, each once, but for the pause of the saga, which its state tells of."""
    told = (clean(node.waiting_for.removeprefix(GATE).strip()) for node in held_nodes(saga))
    return [text for text in dict.fromkeys(told) if text != PAUSED]


def nodes_in_flight(saga: saga_pb2.Saga) -> list[saga_pb2.NodeView]:
    """Return the nodes of which a worker has an attempt."""
    return [node for node in saga.nodes if node.status in _IN_FLIGHT]


def has_ended(saga: saga_pb2.Saga) -> bool:
    """True when nothing will happen to it again."""
    return is_final(saga.state)


def until_held(client: Client, saga_id: str) -> saga_pb2.Saga:
    """Follow a saga until its gate holds a node, or it has ended or needs an operator; return it as it then stands."""
    saga = client.get(saga_id)
    for entry in client.watch(saga_id):
        if entry.seq > saga.log_length:
            saga = client.get(saga_id)
        if held_nodes(saga) or saga.needs_operator or has_ended(saga):
            return saga
    return client.get(saga_id)


def until_quiet(client: Client, saga_id: str, *, patience_s: float) -> saga_pb2.Saga:
    """Wait until nothing of a saga is in flight and nothing more follows by itself; return it as it then stands."""
    deadline = time.monotonic() + patience_s
    while True:
        saga = client.get(saga_id)
        is_quiet = not nodes_in_flight(saga) and (held_nodes(saga) or saga.needs_operator)
        if has_ended(saga) or is_quiet or time.monotonic() >= deadline:
            return saga
        time.sleep(POLL_S)


def breakpoints_of(client: Client, saga_id: str) -> list[log_pb2.Breakpoint]:
    """Return the breakpoints of a saga, as its log has them."""
    breakpoints: list[log_pb2.Breakpoint] = []
    for entry in client.log(saga_id):
        if entry.WhichOneof("entry") == "gate_changed":
            breakpoints = list(entry.gate_changed.breakpoints)
    return breakpoints
