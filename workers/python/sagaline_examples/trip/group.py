"""A group's trips: each is the whole trip of one traveller, and the list of travellers comes with the saga.

One trip is tried first; then four at a time are booked. If one can't be had, nobody travels: every trip is undone.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagaline import Graph, GraphBuilder
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import Itinerary, TripRequest


@dataclass
class GroupRequest:
    """What a group asks for."""

    trips: list[TripRequest]


def group_graph() -> Graph[GroupRequest, list[Itinerary]]:
    g = GraphBuilder("group-trip", params=GroupRequest)
    booked = g.map("trips", TRIP, over=lambda group: group.trips, canary=1, max_concurrency=4)
    return g.build(result=booked)


GROUP = group_graph()
