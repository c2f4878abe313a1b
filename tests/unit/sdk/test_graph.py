"""Graphs: what the builder makes of calls, and what it refuses where the mistake is made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline import (
    Graph,
    GraphBuilder,
    Irreversible,
    Ref,
    RetryPolicy,
    Timeouts,
    UndoKind,
    UndoPolicy,
    UnknownPolicy,
    action,
)
from sagaline.errors import ConversionError, GraphError, PayloadTooLarge, TypeNotSupported
from sagaline.v1 import saga_pb2


@dataclass
class Card:
    number: str


@dataclass
class Order:
    card: Card
    total: float


@dataclass
class Receipt:
    id: str


@action("charge", version="2")
def charge(card: Card, amount: float) -> Receipt:
    return Receipt(f"{card} {amount}")


@charge.undo
def refund() -> None: ...


@action
def look(receipt: Receipt | None) -> str:
    return str(receipt)


@action("go.ship", elsewhere=True)
def ship(address: str) -> str:
    raise NotImplementedError


@pytest.fixture
def g() -> GraphBuilder[Order]:
    return GraphBuilder("shop", params=Order)


def refusal(build: Callable[[], object]) -> tuple[str, str, str]:
    """Return reason, node and message of the one problem."""
    with pytest.raises(GraphError) as caught:
        build()
    (problem,) = caught.value.problems
    assert problem.reason in str(caught.value)
    assert caught.value.code == "BAD_GRAPH"
    return problem.reason, problem.node, problem.message


# ---- what is made


def test_inputs_become_sources(g: GraphBuilder[Order]) -> None:
    card = g.params.select(lambda order: order.card)
    paid = g.add("pay", charge, card, 3)
    also = g.add("also", charge, lambda order: order.card, g.constant("price", 2.5))
    graph = g.build(result=also).to_proto()
    assert graph.name == "shop"
    assert graph.result == "also"
    assert [node.name for node in graph.nodes] == ["pay", "price", "also"]
    pay, price, second = graph.nodes
    assert (pay.action.action, pay.action.version) == ("charge", "2")
    assert pay.action.inputs["card"] == saga_pb2.InputSource(params=saga_pb2.ParamsSource(), path=["card"])
    assert pay.action.inputs["amount"].literal.json == "3.0"
    assert price.constant.value.json == "2.5"
    assert second.action.inputs["amount"] == saga_pb2.InputSource(node="price")
    assert second.action.inputs["card"] == pay.action.inputs["card"]
    assert (paid.node, paid.type) == ("pay", Receipt)


def test_only_what_is_said_is_sent(g: GraphBuilder[Order]) -> None:
    """What is left out takes the server's default, so that it is not in the saga's content."""
    g.add("pay", charge, Card("42"), 3)
    (node,) = g.build().to_proto().nodes
    body = node.action
    assert not node.after
    assert {field.name for field, _ in body.ListFields()} == {
        "action",
        "version",
        "inputs",
        "input_types",
        "output_type",
    }


def test_policies_become_messages(g: GraphBuilder[Order]) -> None:
    first = g.add("first", charge, Card("42"), 3)
    g.add(
        "second",
        charge,
        Card("42"),
        3,
        after=[first, first],
        retry=RetryPolicy(max_attempts=3, initial_backoff=timedelta(milliseconds=5), non_retryable=["Declined"]),
        undo=UndoPolicy(retry=RetryPolicy(max_attempts=9), timeouts=Timeouts(start_to_close=timedelta(seconds=4))),
        timeouts=Timeouts(heartbeat=timedelta(seconds=2)),
        unknown=UnknownPolicy.HOLD,
    )
    node = g.build().to_proto().nodes[1]
    assert list(node.after) == ["first"]
    assert node.action.retry == saga_pb2.RetryPolicy(
        max_attempts=3, initial_backoff=Duration(nanos=5_000_000), non_retryable_failure_types=["Declined"]
    )
    assert node.action.undo == saga_pb2.UndoPolicy(
        kind=saga_pb2.UNDO_KIND_ACTION,
        retry=saga_pb2.RetryPolicy(max_attempts=9),
        timeouts=saga_pb2.Timeouts(start_to_close=Duration(seconds=4)),
    )
    assert node.action.timeouts == saga_pb2.Timeouts(heartbeat=Duration(seconds=2))
    assert node.action.unknown_policy == saga_pb2.UNKNOWN_POLICY_HOLD


def test_a_selected_field_makes_its_node_a_dependency(g: GraphBuilder[Order]) -> None:
    paid = g.add("pay", charge, Card("42"), 3)
    g.add("ship", ship, paid.select(lambda receipt: receipt.id), after=[paid.select(lambda receipt: receipt.id)])
    node = g.build().to_proto().nodes[1]
    assert node.action.inputs["address"] == saga_pb2.InputSource(node="pay", path=["id"])
    assert list(node.after) == ["pay"]


def test_a_field_is_not_an_attribute_of_the_reference(g: GraphBuilder[Order]) -> None:
    with pytest.raises(AttributeError, match=r"ref\.select\(lambda value: value\.amount\)"):
        g.params.amount  # type: ignore[attr-defined]  # noqa: B018 - reading it is the mistake


def test_subsagas_are_graphs_inside(g: GraphBuilder[Order]) -> None:
    inner = GraphBuilder("payment", params=Card)
    payment = inner.build(result=inner.add("pay", charge, inner.params, 3))
    clock = GraphBuilder("clock")
    clock.constant("now", 3)
    first = g.subsaga("first", payment, lambda order: order.card)
    second = g.subsaga("second", payment, Card("42"), after=[first])
    g.subsaga("third", clock.build())
    graph = g.build(result=second)
    nodes = {node.name: node for node in graph.to_proto().nodes}
    assert nodes["first"].subsaga.graph == payment.to_proto()
    assert nodes["first"].subsaga.params == saga_pb2.InputSource(params=saga_pb2.ParamsSource(), path=["card"])
    assert nodes["second"].subsaga.params.literal.json == '{"number":"42"}'
    assert list(nodes["second"].after) == ["first"]
    assert not nodes["third"].subsaga.HasField("params")
    assert (graph.nodes, graph.depth, graph.result_type) == (3, 1, Receipt)


def test_a_graph_does_not_change(g: GraphBuilder[Order]) -> None:
    paid = g.add("pay", charge, Card("42"), 3)
    graph = g.build(result=paid)
    before = graph.to_proto()
    g.add("again", charge, Card("42"), 3)
    before.nodes.add(name="intruder")
    assert [node.name for node in graph.to_proto().nodes] == ["pay"]
    assert (graph.name, graph.params_type, graph.result_type) == ("shop", Order, Receipt)
    assert repr(graph) == "<Graph shop: 1 nodes>"


def test_actions_that_others_serve_need_no_undo_here(g: GraphBuilder[Order]) -> None:
    g.add("ship", ship, "Lovelace Street")
    assert g.build().to_proto().nodes[0].action.action == "go.ship"


def test_undo_may_be_defined_after_the_node_is_added() -> None:
    @action
    def late() -> None: ...

    g = GraphBuilder("g")
    g.add("late", late)
    assert refusal(g.build)[0] == "NO_UNDO"

    @late.undo
    def undo() -> None: ...

    assert g.build().nodes == 1


# ---- what is refused


def test_an_action_without_undo_needs_a_policy(g: GraphBuilder[Order]) -> None:
    g.add("look", look, None)
    reason, node, message = refusal(g.build)
    assert (reason, node) == ("NO_UNDO", "look")
    assert "@look.undo, or say undo=UndoPolicy.noop() or UndoPolicy.none()" in message


@pytest.mark.parametrize("policy", [UndoPolicy.noop(), UndoPolicy.none(), UndoPolicy.none(Irreversible.FORWARD_ONLY)])
def test_an_action_without_undo_with_a_policy(g: GraphBuilder[Order], policy: UndoPolicy) -> None:
    g.add("look", look, None, undo=policy)
    undo = g.build().to_proto().nodes[0].action.undo
    assert undo.kind == (saga_pb2.UNDO_KIND_NOOP if policy.kind is UndoKind.NOOP else saga_pb2.UNDO_KIND_NONE)


@pytest.mark.parametrize("name", ["", "1st", "a b", "a/b", "ä", "a" * 65, "a" * 1_000_000])
def test_names_of_nodes(g: GraphBuilder[Order], name: str) -> None:
    for add in (lambda: g.add(name, charge, Card("42"), 3), lambda: g.constant(name, 1)):
        reason, node, message = refusal(add)
        assert reason == "BAD_NAME"
        assert "1 to 64 characters of [A-Za-z0-9_.-]" in message
        assert len(node) <= 128


@pytest.mark.parametrize("name", ["", ".a", "a b", "a" * 129])
def test_names_of_graphs(name: str) -> None:
    assert refusal(lambda: GraphBuilder(name))[0] == "BAD_NAME"


def test_names_are_unique(g: GraphBuilder[Order]) -> None:
    g.constant("pay", 1)
    assert refusal(lambda: g.add("pay", charge, Card("42"), 3))[:2] == ("DUPLICATE_NODE", "pay")


def test_a_refused_node_leaves_no_trace(g: GraphBuilder[Order]) -> None:
    with pytest.raises(ConversionError):
        g.add("pay", charge, Card("42"), "x")  # type: ignore[arg-type]
    g.add("pay", charge, Card("42"), 3)
    assert g.build().nodes == 1


@pytest.mark.parametrize("inputs", [(), (Card("42"),), (Card("42"), 3, 4)])
def test_the_number_of_inputs(g: GraphBuilder[Order], inputs: tuple[Any, ...]) -> None:
    add: Any = g.add
    reason, _, message = refusal(lambda: add("pay", charge, *inputs))
    assert reason == "WRONG_INPUTS"
    assert f"charge takes 2 inputs (card, amount); {len(inputs)} are given" == message


def test_references_of_another_type(g: GraphBuilder[Order]) -> None:
    """For programs that no type checker has seen."""
    add: Any = g.add
    total = g.params.select(lambda order: order.total)
    reason, node, message = refusal(lambda: add("pay", charge, total, 3))
    assert (reason, node) == ("TYPE_MISMATCH", "pay")
    assert message == "card is Card; <Ref params.total> is float"
    assert refusal(lambda: add("pay", charge, lambda order: order.total, 3))[0] == "TYPE_MISMATCH"
    inner = GraphBuilder("inner", params=Card)
    inner.constant("x", 1)
    subsaga: Any = g.subsaga
    assert refusal(lambda: subsaga("s", inner.build(), total))[0] == "TYPE_MISMATCH"


def test_literals_of_another_type(g: GraphBuilder[Order]) -> None:
    add: Any = g.add
    for value, path in ((3, "card"), (Card(3), "card.number")):  # type: ignore[arg-type]
        with pytest.raises(ConversionError) as caught:
            add("pay", charge, value, 3)
        assert caught.value.path == path
    with pytest.raises(PayloadTooLarge):
        g.add("pay", charge, Card("x" * 300_000), 3)
    with pytest.raises(TypeNotSupported):
        GraphBuilder("g", params=complex)


def test_references_of_another_graph(g: GraphBuilder[Order]) -> None:
    other = GraphBuilder("other", params=Order)
    paid = other.add("pay", charge, Card("42"), 3)
    for build in (
        lambda: g.add("look", look, paid),
        lambda: g.add("look", look, None, after=[paid]),
        lambda: g.add("pay", charge, other.params.select(lambda order: order.card), 3),
        lambda: g.build(result=paid),
    ):
        g.constant(f"c{g._nodes}", 1)
        reason, _, message = refusal(build)
        assert reason == "UNKNOWN_NODE"
        assert "belongs to another graph" in message


def test_what_is_no_node(g: GraphBuilder[Order]) -> None:
    paid = g.add("pay", charge, Card("42"), 3)
    assert refusal(lambda: g.add("look", look, paid, after=[g.params]))[0] == "NOT_A_NODE"
    assert refusal(lambda: g.build(result=g.params))[0] == "NOT_A_NODE"
    reason, _, message = refusal(lambda: g.build(result=paid.select(lambda receipt: receipt.id)))
    assert reason == "NOT_A_NODE"
    assert "add one whose action returns the field" in message


def test_empty_graphs(g: GraphBuilder[Order]) -> None:
    assert refusal(g.build)[0] == "EMPTY_GRAPH"


def test_subsagas_nest_eight_deep() -> None:
    graph = nested(8)
    assert graph.depth == 8
    g = GraphBuilder("g")
    assert refusal(lambda: g.subsaga("s", graph))[:2] == ("TOO_DEEP", "s")


def nested(depth: int) -> Graph[None, object]:
    g = GraphBuilder(f"level-{depth}")
    if depth == 0:
        g.constant("x", 1)
    else:
        g.subsaga("s", nested(depth - 1))
    return g.build()


def test_a_graph_has_10_000_nodes_with_those_of_its_subsagas() -> None:
    inner = GraphBuilder("inner")
    for number in range(5_000):
        inner.constant(f"c{number}", number)
    half = inner.build()
    g = GraphBuilder("g")
    g.subsaga("a", half)
    g.subsaga("b", half)
    assert refusal(lambda: g.constant("c", 1))[0] == "TOO_MANY"
    assert g.build().nodes == 10_000


def test_what_is_no_action_or_reference_is_told(g: GraphBuilder[Order]) -> None:
    add: Any = g.add
    with pytest.raises(TypeError, match="decorate the function with @action"):
        add("pay", refund, Card("42"), 3)
    with pytest.raises(TypeError, match="what `add`, `constant` and `subsaga` return"):
        add("pay", charge, Card("42"), 3, after=["x"])


def test_a_reference_to_a_subclass_or_an_unknown_type_passes(g: GraphBuilder[Order]) -> None:
    add: Any = g.add
    anything: Ref[Any] = g.constant("c", [1])
    assert anything.type is list
    unknown = GraphBuilder("inner")
    unknown.constant("x", 1)
    result = g.subsaga("s", unknown.build())
    add("pay", charge, result, g.constant("whole", 3))


def test_delays_and_signals() -> None:
    builder = GraphBuilder("waits")
    pause = builder.delay("pause", timedelta(seconds=90))
    approve = builder.signal("approve", str, signal="go", timeout=timedelta(hours=1), after=[pause])
    proto = builder.build(result=approve).to_proto()
    assert proto.nodes[0].delay.duration.seconds == 90
    assert (proto.nodes[1].signal.signal, proto.nodes[1].signal.timeout.seconds) == ("go", 3600)
    assert list(proto.nodes[1].after) == ["pause"]
    with pytest.raises(GraphError, match="it lies between"):
        builder.delay("back", timedelta(seconds=-1))
    with pytest.raises(GraphError, match="it lies between"):
        builder.signal("now", timeout=timedelta(0))
    with pytest.raises(GraphError, match="signal's name"):
        builder.signal("odd", signal="a b")
