"""Fields inside parameters and outputs."""

from __future__ import annotations

from typing import assert_type

from cases.shared import Card, Line, Order, Parcel, charge, pack

from sagaline import GraphBuilder, Ref

g = GraphBuilder("shop", params=Order)
order = g.params

assert_type(order.select(lambda order: order), Ref[Order])
assert_type(order.select(lambda order: order.card), Ref[Card])
assert_type(order.select(lambda order: order.card.number), Ref[str])
assert_type(order.select(lambda order: order.card).select(lambda card: card.number), Ref[str])
assert_type(order.select(lambda order: order.lines), Ref[list[Line]])
assert_type(order.select(lambda order: order.lines[0].count), Ref[int])
assert_type(order.select(lambda order: order.gift_card), Ref[Card | None])

parcel = g.add("pack", pack, order.select(lambda order: order.lines))
assert_type(parcel, Ref[Parcel])
assert_type(parcel.select(lambda parcel: parcel["weight_g"]), Ref[int])

order.select(lambda order: order.crad)  # E: has no attribute "crad"|attribute "crad"
order.select(lambda order: order.card.name)  # E: has no attribute "name"|attribute "name"
order.select(lambda order: order.gift_card.number)  # E: "None".*has no attribute|not a known attribute of "None"
order.select(lambda order: order.lines["first"])  # E: No overload variant|"__getitem__"
parcel.select(lambda parcel: parcel["weight"])  # E: no key "weight"|"weight" is not a defined key
parcel.select(lambda parcel: parcel.weight_g)  # E: has no attribute "weight_g"|attribute "weight_g"
order.select("card")  # E: incompatible type "str"|Literal\['card'\]
g.add("pay", charge, order.select(lambda order: order.card.number), 3)  # E: "str"
g.add("pay2", charge, order.select(lambda order: order.gift_card), 3)  # E: Card \| None
order.number  # E: has no attribute "number"|attribute "number"
