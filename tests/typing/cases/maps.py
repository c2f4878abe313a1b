"""Maps: lists of the right and the wrong elements, and what comes out."""

from __future__ import annotations

from typing import assert_type

from cases.shared import Card, Line, Order, Parcel, Receipt, charge, pack

from sagaline import GraphBuilder, Ref, action

g = GraphBuilder("shop", params=Order)
cards = g.constant("cards", [Card("4242")])
lines = g.params.select(lambda order: order.lines)

assert_type(g.map("charges", charge, 3.0, over=cards), Ref[list[Receipt]])
assert_type(g.map("packs", pack, over=[[Line("a", 1)]], max_concurrency=2), Ref[list[Parcel]])
assert_type(g.map("function", pack, over=lambda order: [order.lines]), Ref[list[Parcel]])

one = GraphBuilder("one", params=Line)
packed = one.add("pack", pack, [Line("a", 1)])
each = one.build(result=packed)
assert_type(g.map("lines", each, over=lines, canary=1, max_failures=2), Ref[list[Parcel | None]])
assert_type(g.map("some", charge, 3.0, over=cards, max_failures=1), Ref[list[Receipt | None]])

g.map("a", charge, over=cards)  # E: No overload|Action\[tuple\[Card, float\], Receipt\]
g.map("b", charge, 3.0, over=lines)  # E: "Ref\[list\[Line\]\]"
g.map("c", each, over=cards)  # E: "Ref\[list\[Card\]\]"


@action("shop.number")
def number(line: Line, place: int) -> str:
    return f"{place}"


@action("shop.count")
def count(parcels: list[Parcel]) -> int:
    return len(parcels)


assert_type(g.map("numbers", number, g.index, over=lines), Ref[list[str]])
assert_type(g.index, Ref[int])
g.map("d", charge, g.index, over=cards)
g.map("e", each, g.index, over=lines)  # E: No overload|
parcels = g.map("f", each, over=lines, max_failures=1)
g.add("g", count, parcels)  # E: "Ref\[list\[Parcel \| None\]\]"
