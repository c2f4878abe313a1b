"""The graph. Edges come from the data; `after` adds those that no data tells."""

from __future__ import annotations

from datetime import timedelta

from sagaline import Graph, GraphBuilder, RetryPolicy
from sagaline_examples.trip import actions
from sagaline_examples.trip.values import Itinerary, TripRequest

QUICK_RETRIES = RetryPolicy(max_attempts=20, initial_backoff=timedelta(milliseconds=50))


def trip_graph() -> Graph[TripRequest, Itinerary]:
    g = GraphBuilder("trip", params=TripRequest)
    paid = g.add(
        "pay",
        actions.charge,
        lambda trip: trip.account,
        lambda trip: trip.price_cents,
        lambda trip: trip.trouble,
        retry=QUICK_RETRIES,
    )
    room = g.add("hotel", actions.book_hotel, lambda trip: trip.hotel, lambda trip: trip.trouble, after=[paid])
    seat = g.add("flight", actions.book_flight, lambda trip: trip.flight, after=[paid])
    car = g.add("car", actions.rent_car, lambda trip: trip.station, after=[paid])
    itinerary = g.add(
        "confirm",
        actions.confirm,
        lambda trip: trip.traveller,
        paid,
        room,
        seat,
        car,
        lambda trip: trip.trouble,
    )
    return g.build(result=itinerary)


TRIP = trip_graph()
