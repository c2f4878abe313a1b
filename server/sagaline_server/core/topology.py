"""What the machine runs on: a graph with its subsagas flattened, as arrays of indexes.

Nodes are numbered in topological order: a parent's index is less than its
children's. A subsaga becomes its inner nodes, named "subsaga/node", and one
node of its own name that joins them and stands for the subsaga's result. Such
joins and constants are *instant*: no worker runs them, they succeed by
themselves when their parents have, and are undone when nothing depends on them.

A map is one node with a template, the topology of one element. When its list is
known, `growth` adds the elements at the end, so that the nodes that were there
keep their numbers; `order` then says how they follow each other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from sagaline_server.core import limits
from sagaline_server.core.entries import Kind
from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
    DelayNode,
    Graph,
    InputRef,
    MapNode,
    Node,
    SignalNode,
    SubsagaNode,
    UndoKind,
)
from sagaline_server.core.transitions import NodeStatus
from sagaline_server.core.values import NULL, Payload


class Source(msgspec.Struct, frozen=True):
    """Where a value comes from: a node's output, a literal, or (neither) the saga's parameters."""

    node: int | None = None
    literal: Payload | None = None
    path: tuple[str, ...] = ()
    item: int | None = None
    """Set: this element of the list of the map `node`. In a template, whose element has no number yet: 0."""


class MapPlan(msgspec.Struct, frozen=True):
    """What a map node does with its list."""

    template: Topology
    """One element: its names are what follows the element's own name, its last node stands for its output."""
    end: int
    """Of the template: the node that stands for the element's output."""
    item: str
    """Input that is the element; empty where it is the parameters of a subsaga."""
    index: str
    """Input that is the element's place in the list; empty: none is."""
    max_concurrency: int
    canary: int
    max_failures: int


class Element(msgspec.Struct, frozen=True):
    """One element of a map that has grown."""

    map: int
    """Map node."""
    number: int
    """Place in the list."""
    first: int
    """Its nodes are `first` up to `last`, without `last`; those of maps inside it come later."""
    last: int
    end: int
    """Node that stands for its output."""


class FlatNode(msgspec.Struct, frozen=True):
    """A node of a topology."""

    name: str
    parents: tuple[int, ...]
    children: tuple[int, ...]
    action: ActionNode | None = None
    """None for an instant node."""
    inputs: tuple[tuple[str, Source], ...] = ()
    value: Source | None = None
    """Of an instant node: its output."""
    delay: float | None = None
    """Of a delay node, in seconds."""
    signal: str | None = None
    """Of a signal node: what it waits for."""
    timeout: float | None = None
    """Of a signal node: seconds it waits. None: for ever."""
    kind: str = "action"
    selects: bool = False
    """True where resolving some input may fail: it has a path, or is the whole list that a map gives."""
    is_plain: bool = False
    """True for an action whose start needs no look at inputs or times."""
    is_plain_undo: bool = False
    """True for an action whose undo is an action, without times."""
    feeds_actions: bool = False
    """True where every child is an action: none of them succeeds by itself."""
    follows_actions: bool = False
    """True where every parent is an action: none of them is undone by itself."""
    action_key: tuple[str, str, Kind] = ("", "", Kind.ACTION)
    """Name, version and side: what a worker has to serve to run the action."""
    undo_key: tuple[str, str, Kind] = ("", "", Kind.UNDO)
    map: MapPlan | None = None
    """Of a map node. Its `inputs` are those that its elements share."""
    items: Source | None = None
    """Of a map node: the list."""
    element: int | None = None
    """Innermost element that it is of."""


class Topology(msgspec.Struct, frozen=True):
    """A flattened graph. Shared by every saga of the same graph, but for what a saga's maps have added."""

    graph_name: str
    nodes: tuple[FlatNode, ...]
    index: Mapping[str, int]
    result: int | None
    """Node whose output is the saga's; None: null."""
    digest: bytes
    committing: tuple[int, ...] = ()
    """Nodes after which there is no way back."""
    signals: Mapping[str, tuple[int, ...]] = msgspec.field(default_factory=dict)
    """Signal nodes by what they wait for."""
    is_hurried: bool = False
    """True where some node, of an element to come as well, may wait for a worker for a limited time only."""
    pending: bytes = b""
    """Statuses of the nodes at the beginning."""
    parent_counts: tuple[int, ...] = ()
    roots: tuple[int, ...] = ()
    """Nodes without parents."""
    elements: tuple[Element, ...] = ()
    grown: Mapping[int, range] = msgspec.field(default_factory=dict)
    """Map nodes whose list is known, with their elements."""
    order: Sequence[int] = ()
    """Nodes in topological order, where that is not the order of their numbers."""

    def in_order(self) -> Sequence[int]:
        """Return the nodes in topological order."""
        return self.order or range(len(self.nodes))


class _Draft:
    """A flattened node before it has its number."""

    __slots__ = ("action", "delay", "inputs", "items", "kind", "map", "name", "parents", "signal", "timeout", "value")

    def __init__(self, name: str, kind: str) -> None:
        self.name = name
        self.kind = kind
        self.parents: dict[str, None] = {}
        self.action: ActionNode | None = None
        self.inputs: list[tuple[str, _Name]] = []
        self.value: _Name | None = None
        self.delay: float | None = None
        self.signal: str | None = None
        self.timeout: float | None = None
        self.map: MapPlan | None = None
        self.items: _Name | None = None


class _Name(msgspec.Struct, frozen=True):
    """A Source that still names its node."""

    node: str | None = None
    literal: Payload | None = None
    path: tuple[str, ...] = ()
    item: int | None = None


def flatten(graph: Graph, digest: bytes) -> Topology:
    """Flatten a valid graph; `validate` must have found no problem in it."""
    drafts: dict[str, _Draft] = {}
    result = _flatten_graph(graph, "", (), _Name(), drafts)
    return _topology(graph.name, drafts, result, digest)


def _topology(graph_name: str, drafts: Mapping[str, _Draft], result: str | None, digest: bytes) -> Topology:
    order = _topological(drafts)
    number = {name: i for i, name in enumerate(order)}
    children: list[list[int]] = [[] for _ in order]
    for name in order:
        for parent in drafts[name].parents:
            children[number[parent]].append(number[name])
    nodes = tuple(_number(drafts[name], number, children[i], drafts, order) for i, name in enumerate(order))
    return Topology(
        graph_name=graph_name,
        nodes=nodes,
        index=number,
        result=None if result is None else number[result],
        digest=digest,
        committing=tuple(i for i, node in enumerate(nodes) if node.action is not None and node.action.commits),
        signals=_signals(nodes),
        is_hurried=any(_is_hurried(node) for node in nodes),
        pending=bytes([NodeStatus.PENDING]) * len(nodes),
        parent_counts=tuple(len(node.parents) for node in nodes),
        roots=tuple(i for i, node in enumerate(nodes) if not node.parents),
    )


def _signals(nodes: Sequence[FlatNode]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for i, node in enumerate(nodes):
        if node.signal is not None:
            found[node.signal] = (*found.get(node.signal, ()), i)
        elif node.map is not None:
            for signal in node.map.template.signals:  # of nodes that are still to come
                found.setdefault(signal, ())
    return found


def _is_hurried(node: FlatNode) -> bool:
    if node.map is not None:
        return node.map.template.is_hurried
    if node.action is None:
        return False
    both = (node.action.timeouts, node.action.undo_timeouts)
    return any(limits is not None and limits.schedule_to_start is not None for limits in both)


def sinks(graph: Graph) -> list[str]:
    """Return the names of nodes that no other node of the graph depends on, in the order of the graph."""
    used = {parent for node in graph.nodes for parent in dependencies(node)}
    return [node.name for node in graph.nodes if node.name not in used]


def dependencies(node: Node) -> Iterator[str]:
    """Yield the names that a node depends on, from data and from `after`; may repeat."""
    yield from node.after
    for _, ref in input_refs(node):
        if ref.node is not None:
            yield ref.node


def input_refs(node: Node) -> Iterator[tuple[str, InputRef]]:
    """Yield a node's inputs with the field that names each."""
    if isinstance(node.body, ActionNode):
        for name, ref in node.body.inputs:
            yield f"action.inputs[{name[: limits.NODE_NAME_CHARS]}]", ref
    elif isinstance(node.body, SubsagaNode) and node.body.params is not None:
        yield "subsaga.params", node.body.params
    elif isinstance(node.body, MapNode):
        yield "map.items", node.body.items
        if isinstance(node.body.each, ActionNode):
            for name, ref in node.body.each.inputs:
                yield f"map.action.inputs[{name[: limits.NODE_NAME_CHARS]}]", ref


def _flatten_graph(
    graph: Graph, prefix: str, entry_parents: Sequence[str], params: _Name, drafts: dict[str, _Draft]
) -> str | None:
    """Add the nodes of `graph` to `drafts`; return the name of its result node.

    `entry_parents` are the nodes before the subsaga, on which its first nodes
    depend; `params` is where its parameters come from.
    """
    for node in graph.nodes:
        name = prefix + node.name
        parents = [prefix + parent for parent in dependencies(node)] or list(entry_parents)
        match node.body:
            case ActionNode():
                draft = _Draft(name, "action")
                draft.action = node.body
                draft.inputs = [(key, _rebase(ref, prefix, params)) for key, ref in node.body.inputs]
            case ConstantNode():
                draft = _Draft(name, "constant")
                draft.value = _Name(literal=node.body.value)
            case DelayNode(duration=duration):
                draft = _Draft(name, "delay")
                draft.delay = duration
            case SignalNode(signal=signal, timeout=timeout):
                draft = _Draft(name, "signal")
                draft.signal, draft.timeout = signal or node.name, timeout
            case SubsagaNode():
                draft = _Draft(name, "subsaga")
                inner = node.body.graph
                given = _Name(literal=NULL) if node.body.params is None else _rebase(node.body.params, prefix, params)
                result = _flatten_graph(inner, name + "/", parents, given, drafts)
                draft.value = _Name(literal=NULL) if result is None else _Name(node=result)
                parents = [f"{name}/{sink}" for sink in sinks(inner)]
            case MapNode(each=ActionNode() | SubsagaNode() as each):
                draft = _Draft(name, "map")
                draft.items = _rebase(node.body.items, prefix, params)
                draft.map = _plan(node.body, each)
                if isinstance(each, ActionNode):
                    draft.inputs = [(key, _rebase(ref, prefix, params)) for key, ref in each.inputs]
            case _:
                raise TypeError(f"node {name!r} should have been refused")
        draft.parents = dict.fromkeys(parents)
        drafts[name] = draft
    return _result_name(graph, prefix)


def _plan(body: MapNode, each: ActionNode | SubsagaNode) -> MapPlan:
    """Flatten one element. Its own node has the empty name; the others are named as what follows that."""
    drafts: dict[str, _Draft] = {}
    if isinstance(each, ActionNode):
        end = _Draft("", "action")
        end.action = each
    else:
        end = _Draft("", "subsaga")
        result = _flatten_graph(each.graph, "/", (), _Name(item=0), drafts)
        end.value = _Name(literal=NULL) if result is None else _Name(node=result)
        end.parents = dict.fromkeys(f"/{sink}" for sink in sinks(each.graph))
    drafts[""] = end
    template = _topology("", drafts, "", b"")
    item = body.item if isinstance(each, ActionNode) else ""
    end_node = template.index[""]
    return MapPlan(template, end_node, item, body.index, body.max_concurrency, body.canary, body.max_failures)


def _result_name(graph: Graph, prefix: str) -> str | None:
    if graph.result:
        return prefix + graph.result
    last = sinks(graph)
    return prefix + last[0] if len(last) == 1 else None


def _rebase(ref: InputRef, prefix: str, params: _Name) -> _Name:
    if ref.literal is not None:
        return _Name(literal=ref.literal, path=ref.path)
    if ref.node is not None:
        return _Name(node=prefix + ref.node, path=ref.path)
    return _Name(params.node, params.literal, params.path + ref.path, params.item)


def _topological(drafts: Mapping[str, _Draft]) -> list[str]:
    """Order names parents first; among free ones, as they stand in the graph, so that numbers are stable."""
    position = {name: i for i, name in enumerate(drafts)}
    missing = {name: len(draft.parents) for name, draft in drafts.items()}
    children: dict[str, list[str]] = {name: [] for name in drafts}
    for name, draft in drafts.items():
        for parent in draft.parents:
            children[parent].append(name)
    free = [(position[name], name) for name, count in missing.items() if count == 0]
    heapq.heapify(free)
    order = []
    while free:
        _, name = heapq.heappop(free)
        order.append(name)
        for child in children[name]:
            missing[child] -= 1
            if missing[child] == 0:
                heapq.heappush(free, (position[child], child))
    return order


def _number(
    draft: _Draft, number: Mapping[str, int], children: list[int], drafts: Mapping[str, _Draft], order: Sequence[str]
) -> FlatNode:
    def source(named: _Name) -> Source:
        return Source(None if named.node is None else number[named.node], named.literal, named.path, named.item)

    selects = any(named.path or _is_list(named, drafts) for _, named in draft.inputs)
    action = draft.action
    name, version = ("", "") if action is None else (action.action, action.version)
    return FlatNode(
        name=draft.name,
        parents=tuple(number[parent] for parent in draft.parents),
        children=tuple(children),
        action=draft.action,
        inputs=tuple((key, source(named)) for key, named in draft.inputs),
        value=None if draft.value is None else source(draft.value),
        delay=draft.delay,
        signal=draft.signal,
        timeout=draft.timeout,
        kind=draft.kind,
        selects=selects,
        is_plain=action is not None and action.timeouts is None and not selects,
        is_plain_undo=action is not None and action.undo_timeouts is None and action.undo is UndoKind.ACTION,
        follows_actions=all(drafts[parent].action is not None for parent in draft.parents),
        feeds_actions=all(drafts[order[child]].action is not None for child in children),
        action_key=(name, version, Kind.ACTION),
        undo_key=(name, version, Kind.UNDO),
        map=draft.map,
        items=None if draft.items is None else source(draft.items),
    )


def _is_list(named: _Name, drafts: Mapping[str, _Draft]) -> bool:
    """True where a value is what a map gives, which may be more than a payload holds."""
    while named.node is not None:
        draft = drafts[named.node]
        if draft.map is not None or draft.value is None:
            return draft.map is not None
        named = draft.value
    return False
