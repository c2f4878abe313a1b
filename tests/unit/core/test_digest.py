"""Digests are a promise: equal content has an equal digest, on every release (rule 17)."""

from __future__ import annotations

import hashlib
import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline_server.core.digest import graph_digest, saga_digest
from sagaline_server.core.graph import (
    ActionNode,
    ConstantNode,
    Graph,
    InputRef,
    Node,
    RetryPolicy,
    SagaSpec,
    SubsagaNode,
    UndoKind,
    UnservedNode,
)
from sagaline_server.core.values import NULL, Payload
from tests.unit.core.strategies import GRAPHS, SEEDS

ONE = Graph("one", (Node("a", ActionNode("do.a")),))
FULL = Graph(
    "full",
    (
        Node("k", ConstantNode(Payload(json='{"x":1}', metadata=(("b", "2"), ("a", "1"))))),
        Node(
            "a",
            ActionNode(
                "do.a",
                version="2",
                inputs=(("v", InputRef(node="k", path=("x",))), ("p", InputRef(params=True))),
                undo=UndoKind.NOOP,
                retry=RetryPolicy(7, 0.5, 30.0, 1.5, 0.1, 600.0, ("payments.Declined",)),
                undo_retry=RetryPolicy(max_attempts=3),
            ),
            after=("k",),
        ),
        Node("s", SubsagaNode(ONE, InputRef(literal=Payload(data=b"\x00\xff", encoding="raw")))),
    ),
    result="a",
)
SPEC = SagaSpec(
    "saga-1",
    FULL,
    Payload(json='{"card":"1234"}'),
    labels=(("team", "red"), ("env", "test")),
    scopes=("rack/17", "rack/1"),
    deadline=3600.0,
    start_paused=True,
    trace_context=(("traceparent", "00-0-0-0"),),
)


@pytest.mark.parametrize(
    ("graph", "digest"),
    [
        (ONE, "5314c0ab675dd82f348adab235eb77d25d1ef1b62d7715fcdb9305f8198fc57e"),
        (FULL, "a3be9cc2224743c6972a5b4f46c680f0c9d0030deaa02051045c8496656fb1ab"),
        (
            Graph("unicode", (Node("k", ConstantNode(Payload(json='"äß漢"'))),)),
            "eaa754c1b647255a2157042b5b5c7bee37d1b5c20d67f7b4edc5f2b9d9a9684a",
        ),
    ],
    ids=["one", "full", "unicode"],
)
def test_digests_of_graphs_never_change(graph: Graph, digest: str) -> None:
    """Rule 17: a saga created again after an upgrade is still the same saga."""
    assert graph_digest(graph).hex() == digest


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (SagaSpec("x", ONE, NULL), "41ac27d9a9636939c9aa44fac3e336843c4c67034be8de7081dac8b0dcd4b996"),
        (SPEC, "2a00a84f2657089a905c7291b9f5bf2f7adc6ed015402a35573b0866e81f2492"),
    ],
    ids=["one", "full"],
)
def test_digests_of_sagas_never_change(spec: SagaSpec, digest: str) -> None:
    """Rule 17: likewise for all that a client says about a saga."""
    assert saga_digest(spec, graph_digest(spec.graph)).hex() == digest


@given(GRAPHS, SEEDS)
def test_the_order_in_which_it_is_written_does_not_matter(graph: Graph, seed: int) -> None:
    """Rule 17: maps and sets have no order on the wire, so neither nodes nor inputs nor `after` have one here."""
    assert graph_digest(shuffled(graph, random.Random(seed))) == graph_digest(graph)


def shuffled(graph: Graph, chance: random.Random) -> Graph:
    nodes = []
    for node in graph.nodes:
        body = node.body
        if isinstance(body, ActionNode):
            body = msgspec.structs.replace(body, inputs=tuple(chance.sample(body.inputs, len(body.inputs))))
        elif isinstance(body, SubsagaNode):
            body = msgspec.structs.replace(body, graph=shuffled(body.graph, chance))
        nodes.append(Node(node.name, body, tuple(chance.sample(node.after, len(node.after)))))
    chance.shuffle(nodes)
    return Graph(graph.name, tuple(nodes), graph.result)


def test_the_order_of_labels_and_scopes_does_not_matter() -> None:
    """Rule 17: likewise for labels and scopes; the trace context is no content."""
    other = msgspec.structs.replace(
        SPEC, labels=SPEC.labels[::-1], scopes=SPEC.scopes[::-1], trace_context=(), saga_id="another"
    )
    digest = graph_digest(FULL)
    assert saga_digest(other, digest) == saga_digest(SPEC, digest)


NODE = FULL.nodes[1]
ACTION = NODE.body
assert isinstance(ACTION, ActionNode)


@pytest.mark.parametrize(
    "changes",
    [
        {"action": "do.b"},
        {"version": "3"},
        {"inputs": ()},
        {"inputs": (("v", InputRef(node="k", path=("y",))),)},
        {"undo": UndoKind.ACTION},
        {"retry": RetryPolicy()},
        {"undo_retry": RetryPolicy()},
    ],
    ids=str,
)
def test_every_field_of_an_action_counts(changes: dict[str, object]) -> None:
    """Rule 17: other content is another saga."""
    body = msgspec.structs.replace(ACTION, **changes)
    other = Graph(FULL.name, (FULL.nodes[0], Node("a", body, NODE.after), FULL.nodes[2]), FULL.result)
    assert graph_digest(other) != graph_digest(FULL)


@pytest.mark.parametrize(
    "changes",
    [
        {"params": NULL},
        {"labels": ()},
        {"scopes": ()},
        {"deadline": None},
        {"start_paused": False},
    ],
    ids=str,
)
def test_every_field_of_a_spec_counts(changes: dict[str, object]) -> None:
    """Rule 17: other content is another saga."""
    digest = graph_digest(FULL)
    assert saga_digest(msgspec.structs.replace(SPEC, **changes), digest) != saga_digest(SPEC, digest)


def test_the_graph_counts() -> None:
    """Rule 17: so does the graph, and its name, and its result."""
    digests = {
        graph_digest(graph)
        for graph in (
            FULL,
            Graph("other", FULL.nodes, FULL.result),
            Graph(FULL.name, FULL.nodes),
            Graph(FULL.name, FULL.nodes[:2], FULL.result),
            Graph(FULL.name, (*FULL.nodes[:2], Node("s", SubsagaNode(ONE))), FULL.result),
            Graph(FULL.name, (*FULL.nodes[:2], Node("s", FULL.nodes[2].body, ("a",))), FULL.result),
        )
    }
    assert len(digests) == 6


def test_what_is_not_served_has_no_digest() -> None:
    """It is refused before anybody asks for its digest."""
    with pytest.raises(TypeError):
        graph_digest(Graph("x", (Node("a", UnservedNode("map")),)))


@given(st.text(min_size=1, max_size=200))
def test_a_plain_spec_has_the_digest_of_its_canonical_form(text: str) -> None:
    """The form is put together of parts that are encoded once; it is the one that a full spec has."""
    graph = graph_digest(ONE)
    content: dict[str, object] = {
        "deadline": None,
        "graph": graph.hex(),
        "labels": [],
        "params": {"data": None, "encoding": "", "json": text, "metadata": []},
        "scopes": [],
        "start_paused": False,
    }
    expected = hashlib.sha256(msgspec.json.encode(content)).digest()
    assert saga_digest(SagaSpec("s", ONE, Payload(json=text)), graph) == expected
