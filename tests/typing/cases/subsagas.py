"""Graphs inside graphs."""

from __future__ import annotations

from typing import assert_type

from cases.shared import Card, Order, Receipt, charge, tick

from sagaline import Graph, GraphBuilder, Ref

inner = GraphBuilder("payment", params=Card)
payment = inner.build(result=inner.add("pay", charge, inner.params, 3))
assert_type(payment, Graph[Card, Receipt])

without = GraphBuilder("clock")
clock = without.build(result=without.add("tick", tick))
assert_type(clock, Graph[None, int])

g = GraphBuilder("shop", params=Order)
card = g.params.select(lambda order: order.card)
paid = g.subsaga("payment", payment, card)
assert_type(paid, Ref[Receipt])
assert_type(g.subsaga("literal", payment, Card("4242")), Ref[Receipt])
assert_type(g.subsaga("function", payment, lambda order: order.card), Ref[Receipt])
assert_type(g.subsaga("clock", clock, after=[paid]), Ref[int])

g.subsaga("a", payment, g.params)  # E: "Ref\[Order\]"
g.subsaga("b", payment)  # E: Graph\[Card, Receipt\]
g.subsaga("c", payment, "4242")  # E: incompatible type "str"|Literal\['4242'\]
g.subsaga("d", payment, lambda order: order.total)  # E: incompatible type|"float" is not assignable to "Card"
g.subsaga("e", clock, card)  # E: "Ref\[Card\]"
g.subsaga("f", inner, card)  # E: "GraphBuilder\[Card\]"
g.add("h", charge, card, paid)  # E: "Ref\[Receipt\]"
g.add("i", payment, card)  # E: "Graph\[Card, Receipt\]"
