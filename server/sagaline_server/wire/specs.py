"""Graphs and saga specs from their messages, defaults filled in."""

from __future__ import annotations

from collections.abc import Mapping

from sagaline.v1 import payload_pb2, saga_pb2
from sagaline_server.core.graph import (
    ACTION_RETRY,
    UNDO_RETRY,
    ActionNode,
    ConstantNode,
    DataType,
    DelayNode,
    Graph,
    InputRef,
    Irreversible,
    MapNode,
    Node,
    RetryPolicy,
    SagaSpec,
    SignalNode,
    SubsagaNode,
    Timeouts,
    UndoKind,
    UnknownPolicy,
    UnservedNode,
)
from sagaline_server.core.limits import SUBSAGA_DEPTH
from sagaline_server.core.values import Payload
from sagaline_server.wire.payloads import NULL, payload_from
from sagaline_server.wire.times import to_seconds
from sagaline_server.wire.varints import varint

UNBOUNDED = -1
"""`max_attempts` without a bound. In the core that is 0, which in a message is the default."""


def spec_from(message: saga_pb2.SagaSpec, saga_id: str, graph: Graph) -> SagaSpec:
    """Return a spec; its id and graph are given, because either may come from elsewhere."""
    text = message.params.json
    if text and message.ByteSize() == _plain_bytes(message, text):
        return SagaSpec(saga_id, graph, Payload(json=text))
    return SagaSpec(
        saga_id=saga_id,
        graph=graph,
        params=payload_from(message.params) if message.HasField("params") else NULL,
        labels=tuple(sorted(message.labels.items())) if message.labels else (),
        scopes=tuple(message.scopes) if message.scopes else (),
        deadline=to_seconds(message.deadline) if message.HasField("deadline") else None,
        start_paused=message.start_paused,
        trace_context=tuple(sorted(message.trace_context.items())) if message.trace_context else (),
        start_delay=to_seconds(message.start_delay) if message.HasField("start_delay") else None,
    )


def _plain_bytes(message: saga_pb2.SagaSpec, text: str) -> int:
    """Return the size of a spec that has an id and JSON parameters, and nothing else."""
    saga, params = len(message.saga_id), len(text) if text.isascii() else len(text.encode())
    inner = params + 1 + len(varint(params))
    return saga + 1 + len(varint(saga)) + inner + 1 + len(varint(inner))


def graph_from(message: saga_pb2.Graph, depth: int = 0) -> Graph:
    """Return a graph. Subsagas deeper than the limit are not followed; validation refuses them."""
    nodes = tuple(_node(node, depth) for node in message.nodes)
    return Graph(name=message.name, nodes=nodes, result=message.result)


def _node(message: saga_pb2.Node, depth: int) -> Node:
    kind = message.WhichOneof("kind")
    body: ActionNode | ConstantNode | SubsagaNode | MapNode | DelayNode | SignalNode | UnservedNode
    if kind == "action":
        body = _action(message.action)
    elif kind == "constant":
        body = ConstantNode(payload_from(message.constant.value))
    elif kind == "subsaga":
        body = _subsaga(message.subsaga, depth)
    elif kind == "map":
        body = _map(message.map, depth)
    elif kind == "delay":
        body = DelayNode(to_seconds(message.delay.duration))
    elif kind == "signal":
        wait = message.signal
        body = SignalNode(wait.signal, to_seconds(wait.timeout) if wait.HasField("timeout") else None)
    else:
        body = UnservedNode("")
    return Node(name=message.name, body=body, after=tuple(message.after))


def _subsaga(message: saga_pb2.SubsagaNode, depth: int) -> SubsagaNode:
    graph = graph_from(message.graph, depth + 1) if depth <= SUBSAGA_DEPTH else Graph(message.graph.name, ())
    return SubsagaNode(graph, _input(message.params) if message.HasField("params") else None)


def _map(message: saga_pb2.MapNode, depth: int) -> MapNode:
    kind = message.WhichOneof("each")
    each: ActionNode | SubsagaNode | None = None
    if kind == "action":
        each = _action(message.action)
    elif kind == "subsaga":
        each = _subsaga(message.subsaga, depth)
    return MapNode(
        _input(message.items),
        each,
        message.max_concurrency,
        message.canary,
        message.max_failures,
        message.item or "item",
        message.index,
    )


def _action(message: saga_pb2.ActionNode) -> ActionNode:
    undo = message.undo
    return ActionNode(
        action=message.action,
        version=message.version or "1",
        inputs=tuple((name, _input(message.inputs[name])) for name in sorted(message.inputs)),
        undo=_undo_kind(message),
        retry=_retry(message.retry, ACTION_RETRY) if message.HasField("retry") else ACTION_RETRY,
        undo_retry=_retry(undo.retry, UNDO_RETRY) if undo.HasField("retry") else UNDO_RETRY,
        timeouts=_timeouts(message.timeouts) if message.HasField("timeouts") else None,
        undo_timeouts=_timeouts(undo.timeouts) if undo.HasField("timeouts") else None,
        unknown=_UNKNOWN.get(message.unknown_policy, UnknownPolicy.RETRY_THEN_UNDO),
        pivot=message.pivot,
        irreversible=_IRREVERSIBLE.get(undo.irreversible, Irreversible.HOLD),
        input_types=types_from(message.input_types) if message.input_types else (),
        output_type=type_from(message.output_type) if message.HasField("output_type") else None,
        unserved=tuple(_unserved(message)),
    )


_UNKNOWN = {int(policy): policy for policy in UnknownPolicy}
_IRREVERSIBLE = {int(policy): policy for policy in Irreversible}
_UNDO_KINDS = {int(kind): kind for kind in UndoKind}


def types_from(messages: Mapping[str, payload_pb2.TypeSpec]) -> tuple[tuple[str, DataType], ...]:
    """Return the types that are declared, by name."""
    found = ((name, type_from(messages[name])) for name in sorted(messages))
    return tuple((name, declared) for name, declared in found if declared is not None)


def type_from(message: payload_pb2.TypeSpec) -> DataType | None:
    """Return a declared type; None where any payload fits."""
    if message.json_schema or message.message_name:
        return DataType(message.json_schema, message.message_name)
    return None


def _undo_kind(message: saga_pb2.ActionNode) -> UndoKind:
    default = UndoKind.NONE if message.pivot else UndoKind.ACTION
    return _UNDO_KINDS.get(message.undo.kind, default)


def _timeouts(message: saga_pb2.Timeouts) -> Timeouts | None:
    limits = Timeouts(
        schedule_to_start=to_seconds(message.schedule_to_start) if message.HasField("schedule_to_start") else None,
        start_to_close=to_seconds(message.start_to_close) if message.HasField("start_to_close") else None,
        heartbeat=to_seconds(message.heartbeat) if message.HasField("heartbeat") else None,
    )
    return None if limits == Timeouts() else limits


def _unserved(message: saga_pb2.ActionNode) -> list[str]:
    """Name what the client asks for and this release does not do, or does not know."""
    undo = message.undo
    asked = {
        "undo.kind": undo.kind != 0 and undo.kind not in _UNDO_KINDS,
        "undo.irreversible": undo.irreversible != 0 and undo.irreversible not in _IRREVERSIBLE,
        "unknown_policy": message.unknown_policy != 0 and message.unknown_policy not in _UNKNOWN,
    }
    return [field for field, is_set in asked.items() if is_set]


def _retry(message: saga_pb2.RetryPolicy, default: RetryPolicy) -> RetryPolicy:
    return RetryPolicy(
        max_attempts=0 if message.max_attempts == UNBOUNDED else message.max_attempts or default.max_attempts,
        initial_backoff=to_seconds(message.initial_backoff)
        if message.HasField("initial_backoff")
        else default.initial_backoff,
        max_backoff=to_seconds(message.max_backoff) if message.HasField("max_backoff") else default.max_backoff,
        multiplier=message.multiplier or default.multiplier,
        jitter=message.jitter if message.HasField("jitter") else default.jitter,
        total_timeout=to_seconds(message.total_timeout) if message.HasField("total_timeout") else None,
        non_retryable=tuple(sorted(message.non_retryable_failure_types)),
    )


def _input(message: saga_pb2.InputSource) -> InputRef:
    source = message.WhichOneof("source")
    return InputRef(
        literal=payload_from(message.literal) if source == "literal" else None,
        node=message.node if source == "node" else None,
        params=source == "params",
        path=tuple(message.path),
    )
