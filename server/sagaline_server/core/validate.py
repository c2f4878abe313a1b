"""What a client may ask for. Every problem is found at once, each with its field, node and stable reason."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

from sagaline_server.core import limits
from sagaline_server.core.digest import is_plain
from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
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
    UnservedNode,
)
from sagaline_server.core.pivots import check_pivot, pivot_of
from sagaline_server.core.problems import Problem
from sagaline_server.core.topology import dependencies, input_refs, sinks
from sagaline_server.core.values import Payload, SelectionError, elements_of

__all__ = ["Problem", "check_graph", "check_payload", "check_pivot", "check_saga_id", "check_spec", "payload_bytes"]

_NODE_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.-]{{0,{limits.NODE_NAME_CHARS - 1}}}")
_DOTTED = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{limits.GRAPH_NAME_CHARS - 1}}}")
_VERSION = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.VERSION_CHARS}}}")
_SAGA_ID = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._~-]{{0,{limits.SAGA_ID_CHARS - 1}}}")
_SURELY_SMALL = limits.PAYLOAD_BYTES // 4
"""Characters of a payload that is within its limit, however they are encoded."""
_SCOPE = re.compile(rf"[A-Za-z0-9._/-]{{1,{limits.SCOPE_CHARS}}}")
_ENCODING = re.compile(rf"[a-z0-9./+-]{{1,{limits.ENCODING_CHARS}}}")


def check_saga_id(saga_id: str, field: str = "saga_id") -> list[Problem]:
    """Check a saga id alone."""
    if _SAGA_ID.fullmatch(saga_id):
        return []
    message = (
        f"an id has 1 to {limits.SAGA_ID_CHARS} characters of [A-Za-z0-9._~-] and starts with a letter or digit; "
        f"this one has {len(saga_id)} characters"
    )
    return [Problem(field, "BAD_SAGA_ID", message)]


def check_spec(spec: SagaSpec, field: str = "saga") -> list[Problem]:
    """Check everything about a spec but its graph."""
    if is_plain(spec) and len(spec.params.json or "") <= _SURELY_SMALL and _SAGA_ID.fullmatch(spec.saga_id):
        return []
    problems = check_saga_id(spec.saga_id, f"{field}.saga_id")
    problems += _payload(spec.params, f"{field}.params", "")
    if len(spec.labels) > limits.LABELS:
        problems.append(_too_many(f"{field}.labels", "labels", len(spec.labels), limits.LABELS))
    for key, value in spec.labels:
        if not 0 < len(key.encode()) <= limits.LABEL_BYTES or len(value.encode()) > limits.LABEL_BYTES:
            message = f"a label's key has 1 to {limits.LABEL_BYTES} bytes and its value at most as many"
            problems.append(Problem(f"{field}.labels[{key[:32]}]", "BAD_LABEL", message))
    if len(spec.scopes) > limits.SCOPES:
        problems.append(_too_many(f"{field}.scopes", "scopes", len(spec.scopes), limits.SCOPES))
    for i, scope in enumerate(spec.scopes):
        if not _SCOPE.fullmatch(scope):
            message = f"a scope has 1 to {limits.SCOPE_CHARS} characters of [A-Za-z0-9._/-], such as rack/17"
            problems.append(Problem(f"{field}.scopes[{i}]", "BAD_SCOPE", message))
    if spec.deadline is not None and not 0 < spec.deadline <= limits.DEADLINE_SECONDS_MAX:
        problems.append(Problem(f"{field}.deadline", "OUT_OF_RANGE", "a deadline is more than 0 and at most 366 days"))
    if spec.start_delay is not None and not 0 <= spec.start_delay <= limits.DEADLINE_SECONDS_MAX:
        problems.append(Problem(f"{field}.start_delay", "OUT_OF_RANGE", "a delay of the start is from 0 to 366 days"))
    problems += _trace_context(spec, field)
    problems += [_unserved(f"{field}.{name}", "", "UNSERVED_FIELD") for name in spec.unserved]
    return problems


def check_graph(graph: Graph, field: str = "saga.graph") -> list[Problem]:
    """Check a graph with its subsagas. No problem: `flatten` accepts it, and the machine can run it."""
    problems = list(_graph(graph, field, "", 0))
    if not problems:
        problems += _size(graph, field)
    if not problems:
        problems += check_pivot(graph, field)
    return problems


def _trace_context(spec: SagaSpec, field: str) -> Iterator[Problem]:
    if len(spec.trace_context) > limits.TRACE_CONTEXT_PAIRS:
        yield _too_many(f"{field}.trace_context", "pairs", len(spec.trace_context), limits.TRACE_CONTEXT_PAIRS)
    for key, value in spec.trace_context:
        if len(key.encode()) + len(value.encode()) > limits.TRACE_CONTEXT_BYTES:
            message = f"key and value together have at most {limits.TRACE_CONTEXT_BYTES} bytes"
            yield Problem(f"{field}.trace_context[{key[:32]}]", "OUT_OF_RANGE", message)


def _graph(graph: Graph, field: str, prefix: str, depth: int) -> Iterator[Problem]:
    if not _DOTTED.fullmatch(graph.name):
        message = f"a graph's name has 1 to {limits.GRAPH_NAME_CHARS} characters of [A-Za-z0-9._-]"
        yield Problem(f"{field}.name", "BAD_NAME", message)
    if not graph.nodes:
        yield Problem(f"{field}.nodes", "EMPTY_GRAPH", "a graph has at least one node")
        return
    if len(graph.nodes) > limits.GRAPH_NODES:
        yield _too_many(f"{field}.nodes", "nodes", len(graph.nodes), limits.GRAPH_NODES)
        return
    if depth > limits.SUBSAGA_DEPTH:
        yield Problem(field, "TOO_DEEP", f"subsagas nest at most {limits.SUBSAGA_DEPTH} deep")
        return
    names: dict[str, Node] = {}
    for i, node in enumerate(graph.nodes):
        where = f"{field}.nodes[{i}]"
        if node.name in names:
            message = f"another node is named {_brief(node.name)!r}"
            yield Problem(f"{where}.name", "DUPLICATE_NODE", message, prefix + _brief(node.name))
        names[node.name] = node
        yield from _node(node, where, prefix, depth)
    if graph.result and graph.result not in names:
        message = f"there is no node {_brief(graph.result)!r} in this graph"
        yield Problem(f"{field}.result", "UNKNOWN_NODE", message)
    unknown = list(_unknown_nodes(graph, field, prefix, names))
    yield from unknown
    if not unknown:
        yield from _cycle(names, f"{field}.nodes", prefix)


def _node(node: Node, where: str, prefix: str, depth: int) -> Iterator[Problem]:
    name = prefix + _brief(node.name)
    if not _NODE_NAME.fullmatch(node.name):
        message = (
            f"a node's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-] "
            "and starts with a letter or underscore"
        )
        yield Problem(f"{where}.name", "BAD_NAME", message, name)
    match node.body:
        case ActionNode():
            yield from _action(node.body, f"{where}.action", name)
        case ConstantNode():
            yield from _payload(node.body.value, f"{where}.constant.value", name)
        case DelayNode(duration=duration):
            if not 0 <= duration <= limits.DEADLINE_SECONDS_MAX:
                message = f"a delay is from 0 to 366 days; this is {duration:g} s"
                yield Problem(f"{where}.delay.duration", "OUT_OF_RANGE", message, name)
        case SignalNode():
            yield from _signal(node.body, f"{where}.signal", name)
        case SubsagaNode():
            yield from _graph(node.body.graph, f"{where}.subsaga.graph", f"{name}/", depth + 1)
        case MapNode():
            yield from _map(node.body, f"{where}.map", name, depth)
        case UnservedNode(kind=""):
            message = "set what the node is: action, constant, subsaga, map, delay or signal"
            yield Problem(where, "NO_KIND", message, name)
        case UnservedNode(kind=kind):
            yield _unserved(f"{where}.{kind}", name, "UNSERVED_NODE_KIND")
    for field, ref in input_refs(node):
        yield from _input(ref, f"{where}.{field}", name)


def _map(body: MapNode, where: str, name: str, depth: int) -> Iterator[Problem]:
    match body.each:
        case ActionNode(inputs=inputs):
            yield from _action(body.each, f"{where}.action", name)
            if not _NODE_NAME.fullmatch(body.item):
                message = f"an input's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-]"
                yield Problem(f"{where}.item", "BAD_NAME", message, name)
            if any(key == body.item for key, _ in inputs):
                message = f"the input {_brief(body.item)!r} is the element; leave it out, or name another as `item`"
                yield Problem(f"{where}.action.inputs[{_brief(body.item)}]", "NOT_ALLOWED", message, name)
            if body.index:
                yield from _index(body.index, {body.item, *(key for key, _ in inputs)}, where, name)
        case SubsagaNode(graph=graph, params=params):
            yield from _graph(graph, f"{where}.subsaga.graph", f"{name}[]/", depth + 1)
            if params is not None:
                message = "the element is the subsaga's parameters; leave them out"
                yield Problem(f"{where}.subsaga.params", "NOT_ALLOWED", message, name)
            if body.index:
                message = "the element is all that a subsaga has of the list; put its place there if it needs that"
                yield Problem(f"{where}.index", "NOT_ALLOWED", message, name)
        case None:
            yield Problem(where, "NO_KIND", "set what runs for each element: action or subsaga", name)
    if body.each is not None and pivot_of(body.each):
        message = "a pivot is one node, and a map has as many as its list has elements; put it after the map"
        yield Problem(where, "PIVOT_IN_MAP", message, name)
    for field in ("max_concurrency", "canary", "max_failures"):
        value: int = getattr(body, field)
        if not 0 <= value <= limits.GRAPH_NODES:
            message = f"{field} lies between 0 and {limits.GRAPH_NODES}; this is {value}"
            yield Problem(f"{where}.{field}", "OUT_OF_RANGE", message, name)
    if body.items.literal is not None and not body.items.path:
        yield from _literal_list(body.items.literal, f"{where}.items", name)


def _index(index: str, others: Collection[str], where: str, name: str) -> Iterator[Problem]:
    if not _NODE_NAME.fullmatch(index):
        message = f"an input's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-]"
        yield Problem(f"{where}.index", "BAD_NAME", message, name)
    elif index in others:
        message = f"the action has another input {_brief(index)!r}; the element's place is one of its own"
        yield Problem(f"{where}.index", "NOT_ALLOWED", message, name)


def _literal_list(literal: Payload, where: str, name: str) -> Iterator[Problem]:
    try:
        count = len(elements_of(literal))
    except SelectionError as error:
        yield Problem(where, "NOT_A_LIST", str(error), name)
        return
    if count > limits.GRAPH_NODES:
        yield _too_many(where, "elements", count, limits.GRAPH_NODES)


def _signal(body: SignalNode, where: str, node: str) -> Iterator[Problem]:
    if body.signal and not _NODE_NAME.fullmatch(body.signal):
        message = f"a signal's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-]"
        yield Problem(f"{where}.signal", "BAD_NAME", message, node)
    if body.timeout is not None and not 0 < body.timeout <= limits.DEADLINE_SECONDS_MAX:
        yield Problem(f"{where}.timeout", "OUT_OF_RANGE", "a timeout is more than 0 and at most 366 days", node)


def _action(body: ActionNode, where: str, node: str) -> Iterator[Problem]:
    if not _DOTTED.fullmatch(body.action):
        message = f"an action's name has 1 to {limits.ACTION_NAME_CHARS} characters of [A-Za-z0-9._-]"
        yield Problem(f"{where}.action", "BAD_NAME", message, node)
    if not _VERSION.fullmatch(body.version):
        message = f"a version has 1 to {limits.VERSION_CHARS} characters of [A-Za-z0-9._-]"
        yield Problem(f"{where}.version", "BAD_NAME", message, node)
    if len(body.inputs) > limits.NODE_INPUTS:
        yield _too_many(f"{where}.inputs", "inputs", len(body.inputs), limits.NODE_INPUTS)
    for name, _ in body.inputs:
        if not _NODE_NAME.fullmatch(name):
            message = f"an input's name has 1 to {limits.NODE_NAME_CHARS} characters of [A-Za-z0-9_.-]"
            yield Problem(f"{where}.inputs[{_brief(name)}]", "BAD_NAME", message, node)
    yield from _retry(body.retry, f"{where}.retry", node)
    yield from _retry(body.undo_retry, f"{where}.undo.retry", node)
    yield from _timeouts(body.timeouts, f"{where}.timeouts", node)
    yield from _timeouts(body.undo_timeouts, f"{where}.undo.timeouts", node)
    if body.irreversible is not Irreversible.HOLD and body.undo is not UndoKind.NONE:
        message = "irreversible says what happens to a node that can't be undone; this one can be"
        yield Problem(f"{where}.undo.irreversible", "NOT_ALLOWED", message, node)
    if body.pivot and body.undo is UndoKind.ACTION:
        message = "a pivot is the point of no return and has no undo action; leave the kind out"
        yield Problem(f"{where}.undo.kind", "NOT_ALLOWED", message, node)
    for field in body.unserved:
        yield _unserved(f"{where}.{field}", node, "UNSERVED_POLICY")


def _timeouts(timeouts: Timeouts | None, where: str, node: str) -> Iterator[Problem]:
    if timeouts is None:
        return
    for field in ("schedule_to_start", "start_to_close", "heartbeat"):
        value: float | None = getattr(timeouts, field)
        if value is not None and not 0 < value <= limits.DEADLINE_SECONDS_MAX:
            message = f"{field} is more than 0 and at most 366 days; this is {value:g} s"
            yield Problem(f"{where}.{field}", "OUT_OF_RANGE", message, node)


def _retry(policy: RetryPolicy, where: str, node: str) -> Iterator[Problem]:
    bounds = (
        ("max_attempts", policy.max_attempts, 0, limits.MAX_ATTEMPTS),
        ("initial_backoff", policy.initial_backoff, 0, limits.INITIAL_BACKOFF_SECONDS_MAX),
        ("max_backoff", policy.max_backoff, 0, limits.BACKOFF_SECONDS_MAX),
        ("multiplier", policy.multiplier, 1, limits.MULTIPLIER_MAX),
        ("jitter", policy.jitter, 0, 1),
        ("total_timeout", policy.total_timeout or 0, 0, limits.DEADLINE_SECONDS_MAX),
    )
    for field, value, low, high in bounds:
        if not low <= value <= high:
            message = f"{field} lies between {low:,g} and {high:,.15g}; this is {value:,.15g}"
            if field == "max_attempts":
                message += "; -1 is no bound"
            yield Problem(f"{where}.{field}", "OUT_OF_RANGE", message, node)
    if len(policy.non_retryable) > limits.NON_RETRYABLE_TYPES:
        field = f"{where}.non_retryable_failure_types"
        yield _too_many(field, "types", len(policy.non_retryable), limits.NON_RETRYABLE_TYPES)


def _input(ref: InputRef, where: str, node: str) -> Iterator[Problem]:
    given = (ref.literal is not None) + (ref.node is not None) + ref.params
    if given != 1:
        yield Problem(where, "NO_SOURCE", "set exactly one of literal, node and params", node)
    if ref.literal is not None:
        yield from _payload(ref.literal, f"{where}.literal", node)
    if len(ref.path) > limits.PATH_ELEMENTS:
        yield _too_many(f"{where}.path", "elements", len(ref.path), limits.PATH_ELEMENTS)
    if any(not 0 < len(part) <= limits.PATH_ELEMENT_CHARS for part in ref.path):
        message = f"an element of a path has 1 to {limits.PATH_ELEMENT_CHARS} characters"
        yield Problem(f"{where}.path", "OUT_OF_RANGE", message, node)


def check_payload(payload: Payload, where: str) -> list[Problem]:
    """Check a payload that came with a request."""
    return list(_payload(payload, where, ""))


def _payload(payload: Payload, where: str, node: str) -> Iterator[Problem]:
    size = payload_bytes(payload)
    if size > limits.PAYLOAD_BYTES:
        message = f"a payload has at most {limits.PAYLOAD_BYTES} bytes; this one has {size}"
        yield Problem(where, "PAYLOAD_TOO_LARGE", message, node)
    if payload.data is not None and not _ENCODING.fullmatch(payload.encoding):
        message = f"with data, encoding has 1 to {limits.ENCODING_CHARS} characters of [a-z0-9./+-]"
        yield Problem(f"{where}.encoding", "BAD_ENCODING", message, node)
    if payload.data is None and payload.encoding:
        yield Problem(f"{where}.encoding", "BAD_ENCODING", "encoding goes with data only", node)
    if len(payload.metadata) > limits.METADATA_PAIRS or any(
        len(key.encode()) > limits.METADATA_KEY_BYTES or len(value.encode()) > limits.METADATA_VALUE_BYTES
        for key, value in payload.metadata
    ):
        message = f"metadata has at most {limits.METADATA_PAIRS} pairs of at most 64 and 1,024 bytes"
        yield Problem(f"{where}.metadata", "BAD_METADATA", message, node)


def payload_bytes(payload: Payload) -> int:
    """Return the size that counts against the limit: the bytes of the value and of its metadata."""
    if payload.data is not None:
        size = len(payload.data)
    else:
        text = payload.json or ""
        size = len(text) if text.isascii() else len(text.encode())
    if payload.metadata:
        size += sum(len(key.encode()) + len(value.encode()) for key, value in payload.metadata)
    return size


def _unknown_nodes(graph: Graph, field: str, prefix: str, names: dict[str, Node]) -> Iterator[Problem]:
    for i, node in enumerate(graph.nodes):
        where = f"{field}.nodes[{i}]"
        refs = [(f"after[{j}]", name) for j, name in enumerate(node.after)]
        refs += [(source, ref.node) for source, ref in input_refs(node) if ref.node is not None]
        for source, name in refs:
            if name not in names:
                message = f"there is no node {_brief(name)!r} in this graph"
                yield Problem(f"{where}.{source}", "UNKNOWN_NODE", message, prefix + _brief(node.name))


def _cycle(names: dict[str, Node], field: str, prefix: str) -> Iterator[Problem]:
    """Report the nodes that no order can serve: those on a cycle, or behind one."""
    missing = {name: len(set(dependencies(node))) for name, node in names.items()}
    children: dict[str, list[str]] = {name: [] for name in names}
    for name, node in names.items():
        for parent in set(dependencies(node)):
            children[parent].append(name)
    free = [name for name, count in missing.items() if count == 0]
    done = 0
    while free:
        done += 1
        for child in children[free.pop()]:
            missing[child] -= 1
            if missing[child] == 0:
                free.append(child)
    if done < len(names):
        left = sorted(name for name, count in missing.items() if count)
        message = f"these nodes wait for each other, or for such nodes: {', '.join(map(_brief, left[:5]))}"
        yield Problem(field, "CYCLE", message, prefix + _brief(left[0]))


def _size(graph: Graph, field: str) -> list[Problem]:
    """Count flattened nodes and edges, as `flatten` will make them."""
    nodes, edges = _count(graph, 0)
    problems = []
    if nodes > limits.GRAPH_NODES:
        problems.append(_too_many(f"{field}.nodes", "nodes, subsagas flattened,", nodes, limits.GRAPH_NODES))
    if edges > limits.GRAPH_EDGES:
        problems.append(_too_many(f"{field}.nodes", "edges, subsagas flattened,", edges, limits.GRAPH_EDGES))
    return problems


def _count(graph: Graph, entry_parents: int) -> tuple[int, int]:
    nodes = edges = 0
    for node in graph.nodes:
        parents = len(set(dependencies(node))) or entry_parents
        if isinstance(node.body, SubsagaNode):
            inner_nodes, inner_edges = _count(node.body.graph, parents)
            nodes += inner_nodes
            edges += inner_edges
            parents = len(sinks(node.body.graph))
        nodes += 1
        edges += parents
    return nodes, edges


def _too_many(field: str, what: str, count: int, limit: int) -> Problem:
    return Problem(field, "TOO_MANY", f"at most {limit} {what} are allowed; there are {count}")


def _brief(name: str) -> str:
    """Cut a name that may be any length, so that what is said about it stays short."""
    return name[: limits.NODE_NAME_CHARS]


def _unserved(field: str, node: str, reason: str) -> Problem:
    return Problem(field, reason, "this release does not serve it; leave it out", node)
