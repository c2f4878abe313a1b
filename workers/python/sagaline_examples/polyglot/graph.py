"""The graph: pay, then the three bookings side by side, then a node that can still make all of it be undone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from sagaline import Graph, GraphBuilder, RetryPolicy, UndoPolicy
from sagaline_examples.polyglot.actions import booking, confirm

QUICK_RETRIES = RetryPolicy(max_attempts=50, initial_backoff=timedelta(milliseconds=50))


@dataclass(frozen=True, slots=True)
class PolyglotTrip:
    """Parameters of the saga."""

    item: str
    trouble: str


def polyglot_graph() -> Graph[PolyglotTrip, str]:
    g = GraphBuilder("polyglot-trip", params=PolyglotTrip)
    paid = g.add("pay", booking("pay"), lambda trip: trip.item, lambda trip: trip.trouble, retry=QUICK_RETRIES)
    hotel, flight, car = (
        g.add(node, booking(node), lambda trip: trip.item, lambda trip: trip.trouble, after=[paid], retry=QUICK_RETRIES)
        for node in ("hotel", "flight", "car")
    )
    done = g.add("confirm", confirm, car, lambda trip: trip.trouble, after=[hotel, flight], undo=UndoPolicy.noop())
    return g.build(result=done)
