"""What a saga of each graph leaves in the inventory when it is whole: what the audit demands of it, all or nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sagaline_examples.inventory import (
    ACCOUNTS,
    ARRAYS,
    FLIGHTS,
    HOTELS,
    NETWORKS,
    SERVERS,
    STATIONS,
    PoolKind,
)


@dataclass(frozen=True, slots=True)
class Held:
    """One holding of a whole saga."""

    kind: PoolKind
    node: str
    amount_field: str = ""
    """Field of the node's output that says how much was taken; empty: one."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole saga of one graph."""

    nodes: frozenset[str]
    """Nodes that change the inventory, each once."""
    holdings: tuple[Held, ...]
    record: str
    """Table with one row for each saga."""
    whole: str
    """Query for the sagas whose record is complete and fits their holdings."""


SHAPES: Mapping[str, Shape] = {
    "provision": Shape(
        nodes=frozenset({"instance", "address", "volume", "server/reserve", "configure", "attach", "boot"}),
        holdings=(
            Held(NETWORKS, "address"),
            Held(ARRAYS, "volume", "size_gb"),
            Held(SERVERS, "server/reserve", "cores"),
        ),
        record="instances",
        whole="""
            SELECT instances.saga FROM instances
              JOIN addresses USING (saga) JOIN volumes USING (saga) JOIN reservations USING (saga)
            WHERE instances.state = 'RUNNING'
              AND instances.address = '10.0.' || (addresses.number / 256) || '.' || (addresses.number % 256)
              AND instances.server = reservations.pool
              AND addresses.host = instances.name
              AND volumes.attached_to = instances.name
        """,
    ),
    "trip": Shape(
        nodes=frozenset({"pay", "hotel", "flight", "car", "confirm"}),
        holdings=(
            Held(ACCOUNTS, "pay", "cents"),
            Held(HOTELS, "hotel"),
            Held(FLIGHTS, "flight"),
            Held(STATIONS, "car"),
        ),
        record="itineraries",
        whole="SELECT saga FROM itineraries",
    ),
}
