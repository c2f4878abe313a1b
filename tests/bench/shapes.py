"""The sagas that are measured: no-op actions with payloads of 200 bytes, in the shapes of the table."""

from __future__ import annotations

import json

import msgspec

from sagaline.v1 import saga_pb2

PAYLOAD_CHARS = 198
"""With its quotes a JSON text of 200 bytes."""
TEXT = json.dumps("x" * PAYLOAD_CHARS)
SIGNAL = "go"


class Shape(msgspec.Struct, frozen=True):
    """A graph, what it gets, and what one saga of it comes to."""

    name: str
    graph: saga_pb2.Graph
    calls: int
    """Actions and undo actions that workers run for one saga."""
    params: str = TEXT
    other_entries: int = 2
    """Log entries besides a start and an end for each call: its creation, its end, an expansion."""
    unwinds: bool = False
    """True: its sagas end unwound, and are to."""


def _action(graph: saga_pb2.Graph, name: str, source: str | None, action: str = "bench.pass") -> None:
    node = graph.nodes.add(name=name)
    node.action.action = action
    if source is None:
        node.action.inputs["value"].params.SetInParent()
    else:
        node.action.inputs["value"].node = source


def _row(graph: saga_pb2.Graph, nodes: int) -> None:
    for i in range(nodes):
        _action(graph, f"n{i}", f"n{i - 1}" if i else None)


def linear(nodes: int) -> Shape:
    """Return actions in a row, each taking the output of the one before."""
    graph = saga_pb2.Graph(name=f"linear{nodes}")
    _row(graph, nodes)
    return Shape(graph.name, graph, nodes)


def chain(nodes: int) -> Shape:
    """Return a long row."""
    return msgspec.structs.replace(linear(nodes), name=f"chain{nodes}")


def parallel(nodes: int) -> Shape:
    """Return actions that wait for none of the others."""
    graph = saga_pb2.Graph(name=f"parallel{nodes}")
    for i in range(nodes):
        _action(graph, f"n{i}", None)
    return Shape(graph.name, graph, nodes)


def mapped(elements: int) -> Shape:
    """Return a map over a list of as many elements, each of 200 bytes."""
    graph = saga_pb2.Graph(name=f"map{elements}")
    node = graph.nodes.add(name="each")
    node.map.items.params.SetInParent()
    node.map.action.action = "bench.pass"
    node.map.item = "value"
    return Shape(graph.name, graph, elements, params=f"[{','.join([TEXT] * elements)}]", other_entries=3)


def unwinding() -> Shape:
    """Return three actions that succeed and one that fails: seven calls, three of them undo actions."""
    graph = saga_pb2.Graph(name="unwinding")
    _row(graph, 3)
    _action(graph, "last", "n2", "bench.fail")
    return Shape(graph.name, graph, 7, unwinds=True)


def waiting(before: int, after: int) -> Shape:
    """Return actions that run, a wait for a signal that nobody sends, and actions that therefore never run."""
    graph = saga_pb2.Graph(name=f"waiting{before}")
    _row(graph, before)
    signal = graph.nodes.add(name="signal")
    signal.signal.signal = SIGNAL
    if before:
        signal.after.append(f"n{before - 1}")
    for i in range(after):
        _action(graph, f"later{i}", "signal" if i == 0 else f"later{i - 1}")
    return Shape(graph.name, graph, before)
