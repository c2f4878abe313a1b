"""Nodes with one action: inputs of the right and the wrong types, and options."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from cases.shared import Card, Line, Order, Parcel, Receipt, charge, pack, send, tick

from sagaline import Graph, GraphBuilder, Ref, RetryPolicy, UndoPolicy, UnknownPolicy

g = GraphBuilder("shop", params=Order)
assert_type(g, GraphBuilder[Order])
assert_type(g.params, Ref[Order])
assert_type(GraphBuilder("no-params"), GraphBuilder[None])

card = g.params.select(lambda order: order.card)
total = g.params.select(lambda order: order.total)
paid = g.add("pay", charge, card, total)
assert_type(paid, Ref[Receipt])

# ---- what an input may be

parcel = g.add("pack", pack, g.params.select(lambda order: order.lines))
assert_type(g.add("send", send, parcel, None), Ref[str])
assert_type(g.add("literal", charge, Card("4242"), 3), Ref[Receipt])
assert_type(g.add("literal-list", pack, [Line("a", 1)]), Ref[Parcel])
assert_type(g.add("literal-dict", send, {"weight_g": 1, "labels": []}, "fragile"), Ref[str])
assert_type(g.add("function", charge, lambda order: order.card, lambda order: order.total), Ref[Receipt])
assert_type(g.constant("limit", 3), Ref[int])
g.add("int-as-float", charge, card, g.constant("three", 3))
g.add("str-as-optional", send, parcel, g.add("text", send, parcel, "x"))
assert_type(g.add("nothing", tick), Ref[int])

g.add("a", charge, card)  # E: Action\[tuple\[Card, float\], Receipt\]
g.add("b", charge)  # E: Action\[tuple\[Card, float\], Receipt\]
g.add("c", charge, card, total, total)  # E: Action\[tuple\[Card, float\], Receipt\]
g.add("d", charge, paid, total)  # E: "Ref\[Receipt\]"
g.add("e", charge, total, card)  # E: "Ref\[float\]"
g.add("f", charge, card, "1.50")  # E: incompatible type "str"|Literal\['1.50'\]
g.add("g", charge, card, g.constant("word", "x"))  # E: incompatible type "str"|"Ref\[str\]"
g.add("h", charge, "4242", total)  # E: incompatible type "str"|Literal\['4242'\]
g.add("i", tick, 1)  # E: Action\[tuple\[\(\)\], int\]
g.add("j", pack, [Card("4242")])  # E: incompatible type "Card"|"list\[Card\]"
g.add("k", send, {"weight": 1}, None)  # E: Missing keys|incompatible type "dict\[str, int\]"|"dict\[str, int\]"
g.add("l", send, None, None)  # E: incompatible type "None"|"None" cannot be assigned
g.add("m", charge, lambda order: order.total, total)  # E: incompatible type|"float" is not assignable to "Card"
g.add("n", charge, lambda order: order.missing, total)  # E: has no attribute "missing"|attribute "missing"
g.add("o", charge, card=card, amount=total)  # E: Unexpected keyword|No overload
g.add("p", len, card)  # E: No overload.*Callable|cannot be assigned to parameter "action"
g.add("q", refund_is_no_action, card)  # E: not defined

# ---- options

g.add("t", tick, after=[paid, parcel], retry=RetryPolicy(max_attempts=3), undo=UndoPolicy.noop())
g.add("u", tick, unknown=UnknownPolicy.HOLD, pivot=True)
g.add("v", tick, aftre=[paid])  # E: Unexpected keyword argument "aftre"|No overload
g.add("w", tick, after=["pay"])  # E: incompatible type "str"|Literal\['pay'\]|list\[str\]
g.add("x", tick, retry=3)  # E: No overload.*"int"|Literal\[3\]
RetryPolicy(initial_backoff=5)  # E: incompatible type "int"|Literal\[5\]
RetryPolicy(timedelta(seconds=1))  # E: Too many positional|Expected 0 positional
GraphBuilder("name", Order)  # E: No overload|Expected 2 positional

# ---- results

whole = g.build(result=paid)
assert_type(whole, Graph[Order, Receipt])
assert_type(g.build(), Graph[Order, object])
wrong_result: Graph[Order, str] = g.build(result=paid)  # E: "Ref\[Receipt\]"|"Graph\[Order, Receipt\]"
wrong_params: Graph[Card, Receipt] = whole  # E: Incompatible types|"Graph\[Order, Receipt\]"
g.build(result="pay")  # E: incompatible type "str"|No overload|Literal\['pay'\]
