"""Hypothesis strategies: random graphs and tempers.

A graph is drawn as a recipe, a list of small numbers for each node, and built
by plain code: drawing is what such tests spend their time on. Every number
shrinks to 0, which stands for the plainest choice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec
from hypothesis import strategies as st

from sagaline_server.core.graph import (
    ACTION_RETRY,
    UNDO_RETRY,
    ActionNode,
    ConstantNode,
    DelayNode,
    Graph,
    InputRef,
    Irreversible,
    MapNode,
    Node,
    RetryPolicy,
    SignalNode,
    SubsagaNode,
    Timeouts,
    UndoKind,
    UnknownPolicy,
)
from sagaline_server.core.topology import flatten
from sagaline_server.core.values import Payload
from tests.unit.core.world import Temper

PARAMS = Payload(json='{"of":"params","list":[3,4]}')
LITERAL = Payload(json='{"of":"literal","list":[5,6]}')

PATHS: tuple[tuple[str, ...], ...] = (
    *[()] * 20,
    *[("of",)] * 14,
    *[("list", "1")] * 4,
    ("nowhere",),
    ("list", "7"),
)
"""Mostly whole values and fields that are there; a few select nothing."""

LIST_PATHS: tuple[tuple[str, ...], ...] = (*[("list",)] * 8, (), ("of",), ("nowhere",))
LITERALS = tuple(
    Payload(json=text) for text in ("[]", "[1]", '[{"of":"x","list":[1]},{"of":"y","list":[]},3]', "[1,2,3,4]")
)

POLICIES = (
    RetryPolicy(jitter=0.0),
    RetryPolicy(initial_backoff=0.0),
    RetryPolicy(max_attempts=1),
    RetryPolicy(max_attempts=2, jitter=1.0),
    RetryPolicy(max_attempts=3, initial_backoff=2.0, max_backoff=3.0),
    RetryPolicy(total_timeout=6.0),
    RetryPolicy(total_timeout=0.0),
    RetryPolicy(non_retryable=("test.Hopeless",)),
    RetryPolicy(max_attempts=4, multiplier=1.0, total_timeout=3.0, jitter=0.5, non_retryable=("test.Hopeless",)),
    ACTION_RETRY,
)
TIMEOUTS = (
    *[None] * 12,
    Timeouts(start_to_close=4.0),
    Timeouts(schedule_to_start=3.0),
    Timeouts(heartbeat=2.0),
    Timeouts(schedule_to_start=60.0, start_to_close=8.0, heartbeat=40.0),
)
UNDO_KINDS = (*[UndoKind.ACTION] * 5, UndoKind.NOOP, UndoKind.NONE)
UNKNOWN_POLICIES = (*[UnknownPolicy.RETRY_THEN_UNDO] * 6, UnknownPolicy.UNDO, UnknownPolicy.HOLD)
UNDO_POLICIES = (UNDO_RETRY,) * 4 + POLICIES

Recipe = tuple[int, int, int, int, tuple["Recipe", ...]]
"""Of a node: kind, parents, inputs, policies, and the nodes inside if it is a subsaga."""

_NUMBER = st.integers(0, 2**30)
_KIND = st.integers(0, 13)


def _recipes(max_nodes: int, inside: st.SearchStrategy[tuple[Recipe, ...]]) -> st.SearchStrategy[tuple[Recipe, ...]]:
    node = st.tuples(_KIND, _NUMBER, _NUMBER, _NUMBER, inside)
    return st.lists(node, min_size=1, max_size=max_nodes).map(tuple)


_INNERMOST = st.just(((0, 0, 0, 0, ()),))
_INNER = st.one_of(_INNERMOST, _recipes(3, _INNERMOST))
_GRAPH = st.tuples(_recipes(9, _INNER), _NUMBER)


class _Digits:
    """Takes choices from a number, least first."""

    def __init__(self, number: int) -> None:
        self.number = number

    def below(self, count: int) -> int:
        self.number, choice = divmod(self.number, count)
        return choice


def build_graph(recipe: Sequence[Recipe], order: int) -> Graph:
    """Make the graph of a recipe; any recipe makes a valid graph."""
    made: list[Node] = []
    for i, node in enumerate(recipe):
        made.append(_build_node(f"n{i}", node, [other.name for other in made]))
    names = [node.name for node in made]
    result = ["", *names][order % (len(names) + 1)]
    if order:
        random.Random(order).shuffle(made)
    return Graph("random", tuple(made), result)


def _build_node(name: str, recipe: Recipe, earlier: Sequence[str]) -> Node:
    kind, parents, inputs, policy, inside = recipe
    # Of the last few nodes, each is a parent with a chance of one in four.
    digits = _Digits(parents)
    after = tuple(other for other in earlier[-6:] if digits.below(4) == 3)
    digits = _Digits(inputs)
    match kind:
        case 8:
            return Node(f"{name}-const", ConstantNode(LITERAL), after)
        case 10:
            return Node(f"{name}-delay", DelayNode((0.0, 1.0, 30.0)[digits.below(3)]), after)
        case 11:
            timeout = (None, None, 20.0)[digits.below(3)]
            return Node(f"{name}-wait", SignalNode(("", "go")[digits.below(2)], timeout), after)
        case 9:
            given = _build_input(digits, earlier) if digits.below(2) else None
            return Node(f"{name}-sub", SubsagaNode(build_graph(inside, policy), given), after)
        case 12 | 13:
            return Node(f"{name}-map", _build_map(name, digits, earlier, recipe), after)
    return Node(f"{name}-raw" if kind == 7 else name, _build_action(name, digits, earlier, policy), after)


def _build_map(name: str, digits: _Digits, earlier: Sequence[str], recipe: Recipe) -> MapNode:
    kind, _, _, policy, inside = recipe
    path = LIST_PATHS[digits.below(len(LIST_PATHS))]
    source = digits.below(len(earlier) + 2)
    if source == 0:
        items = InputRef(params=True, path=path)
    elif source == 1:
        items = InputRef(literal=LITERALS[digits.below(len(LITERALS))])
    else:
        items = InputRef(node=earlier[source - 2], path=path)
    each = _build_action(name, digits, earlier, policy) if kind == 12 else SubsagaNode(build_graph(inside, policy))
    digits = _Digits(policy)
    return MapNode(
        items,
        each,
        max_concurrency=digits.below(3),
        canary=(0, 0, 1, 2)[digits.below(4)],
        max_failures=(0, 1, 1, 2)[digits.below(4)],
        index="place" if kind == 12 and digits.below(2) else "",
    )


def _build_action(name: str, digits: _Digits, earlier: Sequence[str], policy: int) -> ActionNode:
    named = tuple((f"in{i}", _build_input(digits, earlier)) for i in range(digits.below(3)))
    digits = _Digits(policy)
    body = ActionNode(
        action=f"do.{name}",
        inputs=named,
        retry=POLICIES[digits.below(len(POLICIES))],
        undo_retry=UNDO_POLICIES[digits.below(len(UNDO_POLICIES))],
        undo=UNDO_KINDS[digits.below(len(UNDO_KINDS))],
        timeouts=TIMEOUTS[digits.below(len(TIMEOUTS))],
        undo_timeouts=TIMEOUTS[digits.below(len(TIMEOUTS))],
        unknown=UNKNOWN_POLICIES[digits.below(len(UNKNOWN_POLICIES))],
    )
    if body.undo is UndoKind.NONE and digits.below(2):
        body = msgspec.structs.replace(body, irreversible=Irreversible.FORWARD_ONLY)
    return body


def _build_input(digits: _Digits, earlier: Sequence[str]) -> InputRef:
    path = PATHS[digits.below(len(PATHS))]
    source = digits.below(len(earlier) + 2)
    if source == 0:
        return InputRef(params=True, path=path)
    if source == 1:
        return InputRef(literal=LITERAL, path=path)
    return InputRef(node=earlier[source - 2], path=path)


def with_pivot(graph: Graph, number: int) -> Graph:
    """Make an action of a valid graph its pivot, and every other what a pivot asks of it; 0 changes nothing."""
    topology = flatten(graph, b"")
    actions = [i for i, node in enumerate(topology.nodes) if node.action is not None]
    if not number or not actions:
        return graph
    pivot = actions[number % len(actions)]
    before: set[int] = set()
    left = [pivot]
    while left:
        parents = topology.nodes[left.pop()].parents
        left += [parent for parent in parents if parent not in before]
        before.update(parents)
    names = {topology.nodes[i].name for i in before}
    return _pivoted(graph, "", topology.nodes[pivot].name, names)


def _pivoted(graph: Graph, prefix: str, pivot: str, before: set[str]) -> Graph:
    nodes = []
    for node in graph.nodes:
        name, body = prefix + node.name, node.body
        if isinstance(body, SubsagaNode):
            inner = _pivoted(body.graph, f"{name}/", pivot, before)
            body = msgspec.structs.replace(body, graph=inner)
        elif isinstance(body, MapNode) and name not in before:
            body = msgspec.structs.replace(body, each=_softened(body.each))
        elif isinstance(body, SignalNode):
            body = msgspec.structs.replace(body, timeout=None)
        elif isinstance(body, ActionNode) and name == pivot:
            body = msgspec.structs.replace(body, pivot=True, undo=UndoKind.NONE)
        elif isinstance(body, ActionNode) and name not in before and body.undo is not UndoKind.NOOP:
            body = msgspec.structs.replace(body, undo=UndoKind.NONE, retry=RetryPolicy(jitter=0.0))
        nodes.append(msgspec.structs.replace(node, body=body))
    return msgspec.structs.replace(graph, nodes=tuple(nodes))


def _softened(body: ActionNode | SubsagaNode | None) -> ActionNode | SubsagaNode | None:
    """Make of what runs for each element what a pivot asks of the nodes that do not come before it."""
    if isinstance(body, ActionNode):
        is_free = body.undo is UndoKind.NOOP
        return body if is_free else msgspec.structs.replace(body, undo=UndoKind.NONE, retry=RetryPolicy(jitter=0.0))
    if isinstance(body, SubsagaNode):
        return msgspec.structs.replace(body, graph=_pivoted(body.graph, "", "", set()))
    return body


GRAPHS = st.builds(
    lambda drawn, pivot: with_pivot(build_graph(*drawn), pivot if pivot % 3 == 1 else 0), _GRAPH, _NUMBER
)
"""Valid graphs of up to a dozen nodes or so: subsagas in subsagas, constants, data edges, their nodes in any order."""


def untimed(graph: Graph) -> Graph:
    """Return a graph without limits in time."""
    nodes = []
    for node in graph.nodes:
        body = node.body
        if isinstance(body, MapNode) and isinstance(body.each, SubsagaNode):
            inner = msgspec.structs.replace(body.each, graph=untimed(body.each.graph))
            body = msgspec.structs.replace(body, each=inner)
        elif isinstance(body, MapNode) and isinstance(body.each, ActionNode):
            each = msgspec.structs.replace(body.each, timeouts=None, undo_timeouts=None)
            body = msgspec.structs.replace(body, each=each)
        elif isinstance(body, SubsagaNode):
            body = msgspec.structs.replace(body, graph=untimed(body.graph))
        elif isinstance(body, ActionNode):
            body = msgspec.structs.replace(body, timeouts=None, undo_timeouts=None)
        elif isinstance(body, SignalNode):
            body = msgspec.structs.replace(body, timeout=None)
        nodes.append(msgspec.structs.replace(node, body=body))
    return msgspec.structs.replace(graph, nodes=tuple(nodes))


UNTIMED_GRAPHS = GRAPHS.map(untimed)


def _percent(*values: int) -> st.SearchStrategy[int]:
    return st.sampled_from((0, *values))


TEMPERS = st.builds(
    Temper,
    fail=_percent(0, 5, 10, 30),
    retry=_percent(0, 10, 30),
    hold=_percent(0, 5, 15),
    undo_trouble=_percent(20, 50),
    undo_fatal=st.booleans(),
    reject=_percent(0, 10, 30),
    lose=_percent(0, 5, 15),
    repeat=_percent(20, 50),
    full=_percent(0, 20, 50),
    pause=_percent(0, 3, 8),
    unwind=_percent(0, 0, 2),
    crash=_percent(0, 5, 10),
    fence=_percent(0, 5, 10),
    resolve=_percent(5, 10),
    nonsense=_percent(0, 5),
)
"""What a world may do to a saga; shrinks to a quiet one."""

SEEDS = st.integers(0, 1_000_000)
STEPS = st.sampled_from((10, 2, 20, 40, 80))
