"""A Python program as `MODULE:ATTR` names one."""

from __future__ import annotations

from dataclasses import dataclass

from sagaline.actions import action
from sagaline.graph import GraphBuilder
from sagaline.policies import UndoPolicy


@dataclass(frozen=True)
class Trip:
    city: str
    days: int = 1


@action("hotels.book")
async def book(city: str) -> int:
    return len(city)


@action("hotels.count")
async def count(booking: int) -> int:
    return booking


_builder = GraphBuilder("trip", params=Trip)
_hotel = _builder.add("hotel", book, lambda trip: trip.city, undo=UndoPolicy.noop())
GRAPH = _builder.build(result=_hotel)

ACTIONS = [book, count]
NOTHING: list[object] = []
MIXED = [book, "count"]
