"""What a node of a saga takes: where each input comes from, and its value where that is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sagaline.cli.text import clean, payload_text
from sagaline.v1 import payload_pb2, saga_pb2

_PART = re.compile(r"(.+?)(?:\[(\d+)\])?")
"""One part of a node's name: a node of a graph, or an element of a map."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A value by its name for people, and what it is where that is known."""

    text: str
    payload: payload_pb2.Payload | None

    def at(self, path: Iterable[str]) -> _Value:
        keys = list(path)
        text = clean(".".join((self.text, *keys)))
        return _Value(text, None if self.payload is None else _selected(self.payload, keys))


class _Scope:
    """The nodes of one graph of a saga: its own, a subsaga's, or that of a map's element."""

    def __init__(
        self, graph: saga_pb2.Graph, prefix: str, params: _Value, outputs: Mapping[str, payload_pb2.Payload]
    ) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._prefix = prefix
        self._params = params
        self._outputs = outputs

    def node(self, name: str) -> saga_pb2.Node | None:
        return self._nodes.get(name)

    def value(self, source: saga_pb2.InputSource) -> _Value:
        kind = source.WhichOneof("source")
        if kind == "literal":
            return _Value("literal", source.literal).at(source.path)
        if kind == "node":
            name = self._prefix + source.node
            return _Value(name, self._outputs.get(name)).at(source.path)
        return self._params.at(source.path)

    def inputs(self, node: saga_pb2.Node, element: str | None) -> dict[str, _Value]:
        """Return what a node takes, or an element of a map."""
        kind = node.WhichOneof("kind")
        if kind == "map":
            return self._of_map(node.map, element)
        if kind == "subsaga":
            return {"params": self.value(node.subsaga.params)} if node.subsaga.HasField("params") else {}
        return {key: self.value(source) for key, source in node.action.inputs.items()}

    def _of_map(self, body: saga_pb2.MapNode, element: str | None) -> dict[str, _Value]:
        given = {key: self.value(source) for key, source in body.action.inputs.items()}
        items = self.value(body.items)
        if element is None:
            return {**given, "items": items}
        if body.WhichOneof("each") == "subsaga":
            return {"params": items.at([element])}
        given[body.item or "item"] = items.at([element])
        if body.index:
            given[body.index] = _Value("index", payload_pb2.Payload(json=element))
        return given

    def inner(self, node: saga_pb2.Node, element: str | None) -> _Scope | None:
        """Return the graph that a node is, or that an element of it is."""
        body = node.map.subsaga if node.WhichOneof("kind") == "map" else node.subsaga
        if not body.HasField("graph"):
            return None
        place = node.name if element is None else f"{node.name}[{element}]"
        path = self._prefix + place
        params = self.inputs(node, element).get("params")
        known = None if params is None else params.payload
        return _Scope(body.graph, f"{path}/", _Value(f"params of {path}", known), self._outputs)


def input_lines(saga: saga_pb2.Saga, name: str) -> list[tuple[str, str]]:
    """Return name and text of each input of a node: "card", "params.card = 1234"."""
    outputs = {view.name: view.output for view in saga.nodes if view.HasField("output")}
    scope: _Scope | None = _Scope(saga.graph, "", _Value("params", saga.params), outputs)
    inputs: dict[str, _Value] = {}
    for part in name.split("/"):
        found = _PART.fullmatch(part)
        node = None if found is None or scope is None else scope.node(found[1])
        if found is None or scope is None or node is None:
            return []
        inputs = scope.inputs(node, found[2])
        scope = scope.inner(node, found[2])
    return [(clean(key), _told(inputs[key])) for key in sorted(inputs)]


def _told(value: _Value) -> str:
    return value.text if value.payload is None else f"{value.text} = {payload_text(value.payload)}"


def _selected(payload: payload_pb2.Payload, path: list[str]) -> payload_pb2.Payload | None:
    if not path:
        return payload
    try:
        value = json.loads(payload.json)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return payload_pb2.Payload(json=json.dumps(value, separators=(",", ":"), ensure_ascii=False))
