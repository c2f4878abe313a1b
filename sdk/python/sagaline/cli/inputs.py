"""What a node of a saga takes: where each input comes from, and its value where that is known."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sagaline.cli.text import clean, payload_text
from sagaline.v1 import payload_pb2, saga_pb2


def input_lines(saga: saga_pb2.Saga, name: str) -> list[tuple[str, str]]:
    """Return name and text of each input of a node: "card", "params.card = 1234"."""
    prefix, _, _ = name.rpartition("/")
    node = _find(saga.graph, name.split("/"))
    if node is None:
        return []
    inputs = dict(node.action.inputs)
    if node.WhichOneof("kind") == "subsaga" and node.subsaga.HasField("params"):
        inputs = {"params": node.subsaga.params}
    outputs = {view.name: view.output for view in saga.nodes if view.HasField("output")}
    lines = []
    for key in sorted(inputs):
        source = inputs[key]
        value = _value(source, saga.params, outputs, prefix)
        told = "" if value is None else f" = {value}"
        lines.append((clean(key), f"{_source_text(source, prefix)}{told}"))
    return lines


def _find(graph: saga_pb2.Graph, path: Sequence[str]) -> saga_pb2.Node | None:
    for node in graph.nodes:
        if node.name == path[0]:
            return node if len(path) == 1 else _find(node.subsaga.graph, path[1:])
    return None


def _source_text(source: saga_pb2.InputSource, prefix: str) -> str:
    kind = source.WhichOneof("source")
    if kind == "literal":
        start = "literal"
    elif kind == "node":
        start = f"{prefix}/{source.node}" if prefix else source.node
    else:
        start = f"params of {prefix}" if prefix else "params"
    return clean(".".join((start, *source.path)))


def _value(
    source: saga_pb2.InputSource,
    params: payload_pb2.Payload,
    outputs: dict[str, payload_pb2.Payload],
    prefix: str,
) -> str | None:
    kind = source.WhichOneof("source")
    if kind == "literal":
        payload: payload_pb2.Payload | None = source.literal
    elif kind == "node":
        payload = outputs.get(f"{prefix}/{source.node}" if prefix else source.node)
    else:
        payload = None if prefix else params
    if payload is None:
        return None
    return _selected(payload, source.path) if source.path else payload_text(payload)


def _selected(payload: payload_pb2.Payload, path: Sequence[str]) -> str | None:
    try:
        value = json.loads(payload.json)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return clean(json.dumps(value, separators=(",", ":"), ensure_ascii=False))
