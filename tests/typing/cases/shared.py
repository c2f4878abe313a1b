"""What the other cases build their graphs from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from sagaline import Context, action


@dataclass
class Card:
    number: str
    limit: float | None = None


@dataclass
class Line:
    sku: str
    count: int


@dataclass
class Order:
    card: Card
    total: float
    lines: list[Line]
    gift_card: Card | None = None


@dataclass
class Receipt:
    id: str
    paid: float


class Parcel(TypedDict):
    weight_g: int
    labels: list[str]


@action("payments.charge", version="2")
async def charge(context: Context, card: Card, amount: float) -> Receipt:
    return Receipt(context.idempotency_key, amount)


@charge.undo
async def refund(context: Context, card: Card, *, output: Receipt | None) -> None:
    print(context.saga_id, card, output)


@action
def pack(lines: list[Line]) -> Parcel:
    return {"weight_g": len(lines), "labels": []}


@pack.undo
def unpack() -> None: ...


@action
def send(parcel: Parcel, note: str | None) -> str:
    return f"{parcel} {note}"


@send.undo
def call_back(*, output: str | None) -> None:
    print(output)


@action
def tick() -> int:
    return 1


@tick.undo
def tock() -> None: ...
