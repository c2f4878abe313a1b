"""Sagas under the testing kit take parameters of their graph's type, and answer with its result."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import assert_type

from cases.shared import Card, Receipt, charge

from sagaline import GraphBuilder
from sagaline.testing import InProcessSec, SecMaker, TestedSaga

g = GraphBuilder("payment", params=Card)
payment = g.build(result=g.add("pay", charge, g.params, 3))


async def rows() -> list[str]:
    return []


def test_payment(sagaline_sec: SecMaker) -> None:
    sec = sagaline_sec([charge], snapshot=rows)
    assert_type(sec, InProcessSec)
    assert_type(sec.run(payment, Card("4242"), labels={"team": "a"}), Receipt)
    assert_type(sec.create(payment, Card("4242")), TestedSaga[Receipt])
    assert_type(sec.now, datetime)
    sec.advance(timedelta(days=1))
    sec.assert_idempotent(payment, lambda: Card("4242"), outputs_may_differ=["pay"])
    sec.assert_unwinds(payment, lambda: Card("4242"), signals={"approval": True})
    sec.run(payment, "4242")  # E: Cannot infer value of type parameter "P"|Literal\['4242'\]
    sec.assert_unwinds(payment, lambda: "4242")  # E: Cannot infer value|incompatible|"str" is not assignable to "Card"
    sec.assert_unwinds(payment, Card("4242"))  # E: incompatible type "Card"|"Card" is not assignable
    sagaline_sec([charge], snapshot=[])  # E: incompatible type|cannot be assigned|is not assignable
    sagaline_sec([rows])  # E: List item 0|cannot be assigned|is not assignable
