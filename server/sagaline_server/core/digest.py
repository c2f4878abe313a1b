"""Digests of what a client asked for: equal content, equal digest, whatever the order it was written in."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from functools import lru_cache
from typing import Any

import msgspec

from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
    DelayNode,
    Graph,
    InputRef,
    MapNode,
    Node,
    SagaSpec,
    SignalNode,
    SubsagaNode,
)
from sagaline_server.core.values import Payload


def graph_digest(graph: Graph) -> bytes:
    """Return the SHA-256 of a graph's canonical form. The order of nodes, inputs and `after` does not matter."""
    return hashlib.sha256(_CANONICAL.encode(_graph(graph))).digest()


def saga_digest(spec: SagaSpec, graph: bytes) -> bytes:
    """Return the SHA-256 of all of a spec but its id; `graph` is the digest of its graph."""
    if is_plain(spec):
        before, after = _plain(graph)
        return hashlib.sha256(before + _CANONICAL.encode(spec.params.json) + after).digest()
    return hashlib.sha256(_CANONICAL.encode(_content(spec, graph))).digest()


def is_plain(spec: SagaSpec) -> bool:
    """True where a spec says nothing but its id, its graph and JSON parameters."""
    params = spec.params
    return not (
        params.json is None
        or params.metadata
        or params.encoding
        or spec.labels
        or spec.scopes
        or spec.start_paused
        or spec.trace_context
        or spec.unserved
        or params.data is not None
        or spec.deadline is not None
        or spec.start_delay is not None
    )


def _content(spec: SagaSpec, graph: bytes) -> dict[str, Any]:
    content = {
        "graph": graph.hex(),
        "params": _payload(spec.params),
        "labels": sorted(spec.labels),
        "scopes": sorted(spec.scopes),
        "deadline": spec.deadline,
        "start_paused": spec.start_paused,
    }
    if spec.start_delay is not None:
        content["start_delay"] = spec.start_delay
    return content


@lru_cache(256)
def _plain(graph: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and after the parameters in the canonical form of a plain spec."""
    text = _CANONICAL.encode(_content(SagaSpec("", Graph("", ()), Payload(json="")), graph))
    before, _, after = text.partition(b'"json":""')
    return before + b'"json":', after


_CANONICAL = msgspec.json.Encoder(order="deterministic")
"""JSON without spaces, keys in order, text as UTF-8: a promise, because digests are stored."""


def _graph(graph: Graph) -> dict[str, Any]:
    nodes = [_node(node) for node in sorted(graph.nodes, key=lambda node: node.name)]
    return {"name": graph.name, "result": graph.result, "nodes": nodes}


def _node(node: Node) -> dict[str, Any]:
    return {"name": node.name, "after": sorted(node.after), **_body(node.body)}


def _body(body: object) -> dict[str, Any]:
    match body:
        case ActionNode():
            content = msgspec.to_builtins(msgspec.structs.replace(body, inputs=()))
            content["inputs"] = {name: _input(ref) for name, ref in body.inputs}
            return {"action": content}
        case ConstantNode():
            return {"constant": _payload(body.value)}
        case DelayNode():
            return {"delay": msgspec.to_builtins(body)}
        case SignalNode():
            return {"signal": msgspec.to_builtins(body)}
        case SubsagaNode():
            return {
                "subsaga": _graph(body.graph),
                "params": None if body.params is None else _input(body.params),
            }
        case MapNode():
            content = msgspec.to_builtins(msgspec.structs.replace(body, items=InputRef(), each=None))
            del content["each"]
            return {"map": {**content, "items": _input(body.items), "each": _body(body.each)}}
        case _:
            raise TypeError(f"{body!r} has no digest; it should have been refused")


def _input(ref: InputRef) -> dict[str, Any]:
    literal = None if ref.literal is None else _payload(ref.literal)
    return {"literal": literal, "node": ref.node, "params": ref.params, "path": list(ref.path)}


def _payload(payload: Payload) -> dict[str, Any]:
    data = None if payload.data is None else b64encode(payload.data).decode()
    return {
        "json": payload.json,
        "data": data,
        "encoding": payload.encoding,
        "metadata": sorted(payload.metadata),
    }
