"""What a client may ask for: one test for each reason, and for each limit its last good and first bad value."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from sagaline_server.core import limits
from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
    Graph,
    InputRef,
    MapNode,
    Node,
    RetryPolicy,
    SagaSpec,
    SubsagaNode,
    UnservedNode,
)
from sagaline_server.core.validate import (
    Problem,
    check_graph,
    check_payload,
    check_saga_id,
    check_spec,
    payload_bytes,
)
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.graphs import action, constant, graph, output_of, params, spec, subsaga


def found(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.field, problem.reason) for problem in problems]


def text(size: int) -> Payload:
    return Payload(json="x" * size)


# ---- graphs: one row a problem

GRAPHS: list[tuple[str, Graph, str, str, str]] = [
    # name of the case, graph, field, reason, node
    ("empty", graph(), "saga.graph.nodes", "EMPTY_GRAPH", ""),
    ("graph's name", Graph("no spaces", (action("a"),)), "saga.graph.name", "BAD_NAME", ""),
    ("node's name", graph(action("1a")), "saga.graph.nodes[0].name", "BAD_NAME", "1a"),
    ("slash in a node's name", graph(constant("a/b")), "saga.graph.nodes[0].name", "BAD_NAME", "a/b"),
    ("duplicate", graph(action("a"), action("a")), "saga.graph.nodes[1].name", "DUPLICATE_NODE", "a"),
    ("unknown result", graph(action("a"), result="b"), "saga.graph.result", "UNKNOWN_NODE", ""),
    ("unknown after", graph(action("a", "x")), "saga.graph.nodes[0].after[0]", "UNKNOWN_NODE", "a"),
    (
        "unknown input",
        graph(action("a", v=output_of("x"))),
        "saga.graph.nodes[0].action.inputs[v]",
        "UNKNOWN_NODE",
        "a",
    ),
    (
        "unknown params of a subsaga",
        graph(subsaga("s", action("i"), params=output_of("x"))),
        "saga.graph.nodes[0].subsaga.params",
        "UNKNOWN_NODE",
        "s",
    ),
    ("a node after itself", graph(action("a", "a")), "saga.graph.nodes", "CYCLE", "a"),
    ("a cycle of two", graph(action("a", "b"), action("b", "a")), "saga.graph.nodes", "CYCLE", "a"),
    ("a cycle by data", graph(action("a", v=output_of("b")), action("b", "a")), "saga.graph.nodes", "CYCLE", "a"),
    (
        "a cycle inside",
        graph(subsaga("s", action("x", "y"), action("y", "x"))),
        "saga.graph.nodes[0].subsaga.graph.nodes",
        "CYCLE",
        "s/x",
    ),
    ("no source", graph(action("a", v=InputRef())), "saga.graph.nodes[0].action.inputs[v]", "NO_SOURCE", "a"),
    (
        "two sources",
        graph(action("a", v=InputRef(literal=NULL, params=True))),
        "saga.graph.nodes[0].action.inputs[v]",
        "NO_SOURCE",
        "a",
    ),
    ("no kind", graph(Node("a", UnservedNode(""))), "saga.graph.nodes[0]", "NO_KIND", "a"),
    (
        "a place that is no name",
        graph(Node("m", MapNode(params(), ActionNode("do"), index="no name"))),
        "saga.graph.nodes[0].map.index",
        "BAD_NAME",
        "m",
    ),
    (
        "a place that is the element",
        graph(Node("m", MapNode(params(), ActionNode("do"), index="item"))),
        "saga.graph.nodes[0].map.index",
        "NOT_ALLOWED",
        "m",
    ),
    (
        "a place that is another input",
        graph(Node("m", MapNode(params(), ActionNode("do", inputs=(("n", params()),)), index="n"))),
        "saga.graph.nodes[0].map.index",
        "NOT_ALLOWED",
        "m",
    ),
    (
        "a place for a subsaga",
        graph(Node("m", MapNode(params(), SubsagaNode(graph(action("a"))), index="n"))),
        "saga.graph.nodes[0].map.index",
        "NOT_ALLOWED",
        "m",
    ),
    (
        "a kind not served",
        graph(Node("a", UnservedNode("map"))),
        "saga.graph.nodes[0].map",
        "UNSERVED_NODE_KIND",
        "a",
    ),
    (
        "a policy not served",
        graph(Node("a", ActionNode("do.a", unserved=("undo.kind",)))),
        "saga.graph.nodes[0].action.undo.kind",
        "UNSERVED_POLICY",
        "a",
    ),
    ("action's name", graph(Node("a", ActionNode(""))), "saga.graph.nodes[0].action.action", "BAD_NAME", "a"),
    ("version", graph(Node("a", ActionNode("x", ""))), "saga.graph.nodes[0].action.version", "BAD_NAME", "a"),
    (
        "input's name",
        graph(Node("a", ActionNode("x", inputs=(("", params()),)))),
        "saga.graph.nodes[0].action.inputs[]",
        "BAD_NAME",
        "a",
    ),
    (
        "empty element of a path",
        graph(action("a", v=params(""))),
        "saga.graph.nodes[0].action.inputs[v].path",
        "OUT_OF_RANGE",
        "a",
    ),
    (
        "bytes without an encoding",
        graph(Node("a", ConstantNode(Payload(data=b"x")))),
        "saga.graph.nodes[0].constant.value.encoding",
        "BAD_ENCODING",
        "a",
    ),
    (
        "an encoding without bytes",
        graph(Node("a", ConstantNode(Payload(json="1", encoding="json")))),
        "saga.graph.nodes[0].constant.value.encoding",
        "BAD_ENCODING",
        "a",
    ),
    (
        "a literal that is too large",
        graph(action("a", v=InputRef(literal=text(limits.PAYLOAD_BYTES + 1)))),
        "saga.graph.nodes[0].action.inputs[v].literal",
        "PAYLOAD_TOO_LARGE",
        "a",
    ),
    (
        "a problem deep inside is told with its whole path",
        graph(subsaga("s", subsaga("t", action("i", "x")))),
        "saga.graph.nodes[0].subsaga.graph.nodes[0].subsaga.graph.nodes[0].after[0]",
        "UNKNOWN_NODE",
        "s/t/i",
    ),
    (
        "names of a subsaga are its own",
        graph(action("a"), subsaga("s", action("i", "a"))),
        "saga.graph.nodes[1].subsaga.graph.nodes[0].after[0]",
        "UNKNOWN_NODE",
        "s/i",
    ),
]


@pytest.mark.parametrize(
    ("bad", "field", "reason", "node"), [row[1:] for row in GRAPHS], ids=[row[0] for row in GRAPHS]
)
def test_each_problem_of_a_graph(bad: Graph, field: str, reason: str, node: str) -> None:
    """Rule 17: found before anything is written, with field, node and a stable code; and nothing else is found."""
    problems = check_graph(bad)
    assert found(problems) == [(field, reason)]
    assert problems[0].node == node
    assert problems[0].message


POLICY_BOUNDS = [
    ("max_attempts", 0, limits.MAX_ATTEMPTS, -1, limits.MAX_ATTEMPTS + 1),
    ("initial_backoff", 0.0, limits.INITIAL_BACKOFF_SECONDS_MAX, -0.1, limits.INITIAL_BACKOFF_SECONDS_MAX + 1),
    ("max_backoff", 0.0, limits.BACKOFF_SECONDS_MAX, -0.1, limits.BACKOFF_SECONDS_MAX + 1),
    ("multiplier", 1.0, limits.MULTIPLIER_MAX, 0.9, limits.MULTIPLIER_MAX + 1),
    ("jitter", 0.0, 1.0, -0.1, 1.1),
    ("total_timeout", 0.0, limits.DEADLINE_SECONDS_MAX, -0.1, limits.DEADLINE_SECONDS_MAX + 1),
    ("jitter", 0.0, 1.0, float("nan"), float("inf")),
]


@pytest.mark.parametrize(("name", "low", "high", "under", "over"), POLICY_BOUNDS)
def test_bounds_of_retry_policies(name: str, low: float, high: float, under: float, over: float) -> None:
    """Each number has a least and a greatest value, both allowed; of the action and of the undo."""

    def problems(value: float) -> list[tuple[str, str]]:
        policy = msgspec.structs.replace(RetryPolicy(), **{name: value})
        return found(check_graph(graph(action("a", retry=policy, undo_retry=policy))))

    assert problems(low) == problems(high) == []
    where = "saga.graph.nodes[0].action"
    expected = [(f"{where}.retry.{name}", "OUT_OF_RANGE"), (f"{where}.undo.retry.{name}", "OUT_OF_RANGE")]
    assert problems(under) == problems(over) == expected


def nested(depth: int) -> Graph:
    inner = action("a")
    for _ in range(depth):
        inner = subsaga("s", inner)
    return graph(inner)


def with_inputs(count: int) -> Graph:
    return graph(Node("a", ActionNode("x", inputs=tuple((f"i{n}", params()) for n in range(count)))))


def fan(roots: int, leaves: int) -> Graph:
    """Every leaf after every root, by a subsaga: few edges as written, many when flattened."""
    inside = [action(f"x{n}") for n in range(leaves)]
    names = [f"r{n}" for n in range(roots)]
    return graph(*(action(name) for name in names), subsaga("s", *inside, after=tuple(names)))


GRAPH_LIMITS: list[tuple[str, Callable[[int], Graph], int, str]] = [
    ("graph's name", lambda n: Graph("g" * n, (action("a"),)), limits.GRAPH_NAME_CHARS, "BAD_NAME"),
    ("node's name", lambda n: graph(action("a" * n)), limits.NODE_NAME_CHARS, "BAD_NAME"),
    ("action's name", lambda n: graph(Node("a", ActionNode("x" * n))), limits.ACTION_NAME_CHARS, "BAD_NAME"),
    ("version", lambda n: graph(Node("a", ActionNode("x", "1" * n))), limits.VERSION_CHARS, "BAD_NAME"),
    (
        "input's name",
        lambda n: graph(Node("a", ActionNode("x", inputs=(("i" * n, params()),)))),
        limits.NODE_NAME_CHARS,
        "BAD_NAME",
    ),
    ("inputs", with_inputs, limits.NODE_INPUTS, "TOO_MANY"),
    ("path", lambda n: graph(action("a", v=params(*["p"] * n))), limits.PATH_ELEMENTS, "TOO_MANY"),
    (
        "element of a path",
        lambda n: graph(action("a", v=params("p" * n))),
        limits.PATH_ELEMENT_CHARS,
        "OUT_OF_RANGE",
    ),
    (
        "failure types",
        lambda n: graph(action("a", retry=RetryPolicy(non_retryable=("t",) * n))),
        limits.NON_RETRYABLE_TYPES,
        "TOO_MANY",
    ),
    ("depth", nested, limits.SUBSAGA_DEPTH, "TOO_DEEP"),
    ("nodes", lambda n: graph(*(action(f"n{i}") for i in range(n))), limits.GRAPH_NODES, "TOO_MANY"),
    (
        "nodes, flattened",
        lambda n: graph(action("a"), subsaga("s", *(action(f"n{i}") for i in range(n - 2)))),
        limits.GRAPH_NODES,
        "TOO_MANY",
    ),
    # 99 roots, n leaves after each of them, and n edges into the join.
    ("edges, flattened", lambda n: fan(99, n), limits.GRAPH_EDGES // 100, "TOO_MANY"),
    (
        "constant",
        lambda n: graph(Node("a", ConstantNode(text(n)))),
        limits.PAYLOAD_BYTES,
        "PAYLOAD_TOO_LARGE",
    ),
]


@pytest.mark.parametrize(
    ("make", "limit", "reason"), [row[1:] for row in GRAPH_LIMITS], ids=[row[0] for row in GRAPH_LIMITS]
)
def test_limits_of_graphs(make: Callable[[int], Graph], limit: int, reason: str) -> None:
    """The limit itself is allowed, one more is not."""
    assert found(check_graph(make(limit))) == []
    problems = check_graph(make(limit + 1))
    assert [problem.reason for problem in problems] == [reason]
    assert len(problems[0].message) < 500
    assert len(problems[0].field) < 500


# ---- everything but the graph


def changed(**fields: object) -> SagaSpec:
    return msgspec.structs.replace(spec(action("a")), **fields)


def labels(count: int) -> tuple[tuple[str, str], ...]:
    return tuple((f"k{n}", "v") for n in range(count))


SPEC_LIMITS: list[tuple[str, Callable[[int], SagaSpec], int, str, str]] = [
    ("id", lambda n: changed(saga_id="s" * n), limits.SAGA_ID_CHARS, "saga.saga_id", "BAD_SAGA_ID"),
    ("params", lambda n: changed(params=text(n)), limits.PAYLOAD_BYTES, "saga.params", "PAYLOAD_TOO_LARGE"),
    ("labels", lambda n: changed(labels=labels(n)), limits.LABELS, "saga.labels", "TOO_MANY"),
    (
        "label's key",
        lambda n: changed(labels=(("k" * n, ""),)),
        limits.LABEL_BYTES,
        f"saga.labels[{'k' * 32}]",
        "BAD_LABEL",
    ),
    ("label's value", lambda n: changed(labels=(("k", "v" * n),)), limits.LABEL_BYTES, "saga.labels[k]", "BAD_LABEL"),
    ("scopes", lambda n: changed(scopes=("s",) * n), limits.SCOPES, "saga.scopes", "TOO_MANY"),
    ("scope", lambda n: changed(scopes=("s" * n,)), limits.SCOPE_CHARS, "saga.scopes[0]", "BAD_SCOPE"),
    (
        "deadline",
        lambda n: changed(deadline=float(n)),
        int(limits.DEADLINE_SECONDS_MAX),
        "saga.deadline",
        "OUT_OF_RANGE",
    ),
    (
        "trace context",
        lambda n: changed(trace_context=labels(n)),
        limits.TRACE_CONTEXT_PAIRS,
        "saga.trace_context",
        "TOO_MANY",
    ),
    (
        "pair of the trace context",
        lambda n: changed(trace_context=(("k", "v" * (n - 1)),)),
        limits.TRACE_CONTEXT_BYTES,
        "saga.trace_context[k]",
        "OUT_OF_RANGE",
    ),
]


@pytest.mark.parametrize(
    ("make", "limit", "field", "reason"), [row[1:] for row in SPEC_LIMITS], ids=[row[0] for row in SPEC_LIMITS]
)
def test_limits_of_specs(make: Callable[[int], SagaSpec], limit: int, field: str, reason: str) -> None:
    """The limit itself is allowed, one more is not."""
    assert check_spec(make(limit)) == []
    assert found(check_spec(make(limit + 1))) == [(field, reason)]


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (changed(labels=(("", "v"),)), "saga.labels[]", "BAD_LABEL"),
        (changed(scopes=("rack 17",)), "saga.scopes[0]", "BAD_SCOPE"),
        (changed(scopes=("ok", "")), "saga.scopes[1]", "BAD_SCOPE"),
        (changed(deadline=0.0), "saga.deadline", "OUT_OF_RANGE"),
        (changed(deadline=-1.0), "saga.deadline", "OUT_OF_RANGE"),
        (changed(deadline=float("nan")), "saga.deadline", "OUT_OF_RANGE"),
        (changed(unserved=("start_delay",)), "saga.start_delay", "UNSERVED_FIELD"),
        (changed(params=Payload(data=b"")), "saga.params.encoding", "BAD_ENCODING"),
    ],
)
def test_each_problem_of_a_spec(bad: SagaSpec, field: str, reason: str) -> None:
    """Rule 17: found before anything is written, with field and a stable code."""
    assert found(check_spec(bad)) == [(field, reason)]


@pytest.mark.parametrize("bad", ["", "-a", ".a", "a b", "a/b", "ä", "a\n"])
def test_saga_ids_that_are_refused(bad: str) -> None:
    """Ids go into keys, paths and logs."""
    assert found(check_saga_id(bad)) == [("saga_id", "BAD_SAGA_ID")]


@pytest.mark.parametrize("good", ["a", "0", "A.b_c~d-e", "0190163d-8694-739b-aea5-966c26f8ad91"])
def test_saga_ids_that_are_allowed(good: str) -> None:
    """Unreserved characters, and so every UUID."""
    assert check_saga_id(good) == []


def metadata(pairs: int = 1, key: int = 1, value: int = 1) -> Payload:
    names = [f"{n:x}".rjust(key, "k") for n in range(pairs)]
    return Payload(json="1", metadata=tuple((name, "v" * value) for name in names))


@pytest.mark.parametrize(
    ("good", "bad", "reason"),
    [
        (metadata(limits.METADATA_PAIRS), metadata(limits.METADATA_PAIRS + 1), "BAD_METADATA"),
        (metadata(1, limits.METADATA_KEY_BYTES), metadata(1, limits.METADATA_KEY_BYTES + 1), "BAD_METADATA"),
        (metadata(1, 1, limits.METADATA_VALUE_BYTES), metadata(1, 1, limits.METADATA_VALUE_BYTES + 1), "BAD_METADATA"),
        (
            Payload(data=b"", encoding="e" * limits.ENCODING_CHARS),
            Payload(data=b"", encoding="e" * (limits.ENCODING_CHARS + 1)),
            "BAD_ENCODING",
        ),
        (
            Payload(data=b"x" * limits.PAYLOAD_BYTES, encoding="raw"),
            Payload(data=b"x" * (limits.PAYLOAD_BYTES + 1), encoding="raw"),
            "PAYLOAD_TOO_LARGE",
        ),
        # Bytes count, not characters; and metadata count too.
        (text(limits.PAYLOAD_BYTES), Payload(json="ä" * (limits.PAYLOAD_BYTES // 2 + 1)), "PAYLOAD_TOO_LARGE"),
        (
            text(limits.PAYLOAD_BYTES),
            Payload(json="x" * limits.PAYLOAD_BYTES, metadata=(("k", ""),)),
            "PAYLOAD_TOO_LARGE",
        ),
    ],
)
def test_limits_of_payloads(good: Payload, bad: Payload, reason: str) -> None:
    """The limit itself is allowed, one more is not."""
    assert check_payload(good, "p") == []
    assert [problem.reason for problem in check_payload(bad, "p")] == [reason]


def test_the_size_of_a_payload() -> None:
    """Bytes of the value and of its metadata; a null has none."""
    assert payload_bytes(Payload()) == 0
    assert payload_bytes(Payload(json="ä", metadata=(("k", "v"),))) == 4
    assert payload_bytes(Payload(data=b"123", encoding="raw")) == 3


def test_all_problems_are_found_at_once() -> None:
    """Rule 17: a client learns in one answer what to mend."""
    bad = Graph(
        "bad name",
        (
            action("a", "nobody", v=InputRef()),
            action("a"),
            subsaga("s", action("-")),
            Node("m", UnservedNode("delay")),
        ),
        "nobody",
    )
    reasons = {problem.reason for problem in check_graph(bad)}
    assert reasons == {
        "BAD_NAME",
        "UNKNOWN_NODE",
        "NO_SOURCE",
        "DUPLICATE_NODE",
        "UNSERVED_NODE_KIND",
    }


def test_one_mistake_is_told_once() -> None:
    """A cycle is one problem, however many nodes are on it or behind it; the message names some of them."""
    names = [f"n{i:02}" for i in range(30)]
    nodes = [action(name, names[i - 1]) for i, name in enumerate(names)]
    (problem,) = check_graph(graph(*nodes, action("behind", "n29")))
    assert "n00" in problem.message
    assert len(problem.message) < 300


def test_a_graph_with_everything_has_no_problem() -> None:
    """What is allowed is allowed together."""
    inner = SubsagaNode(Graph("inner", (action("x", v=params("a", "0")),), "x"), output_of("k", "list"))
    everything = graph(
        constant("k", '{"list":[1]}'),
        action("a", "k", v=output_of("k"), w=InputRef(literal=NULL), p=params()),
        Node("s", inner, ("a",)),
        action("z", "s", "a", v=output_of("s")),
        result="z",
    )
    assert check_graph(everything) == []


def test_huge_names_do_not_make_huge_errors() -> None:
    """Errors travel in trailers: whatever the client sent, what it is told stays short."""
    huge = "x" * 100_000
    bad = graph(action(huge, huge), action(huge), Node("a", UnservedNode("map"), (huge,)), result=huge)
    for problem in check_graph(bad):
        assert len(problem.message) < 500
        assert len(problem.field) < 500
        assert len(problem.node) <= limits.SUBSAGA_DEPTH * (limits.NODE_NAME_CHARS + 1) + limits.NODE_NAME_CHARS
