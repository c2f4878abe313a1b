"""One state of the whole inventory, read for the audit."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sagaline import decode
from sagaline.v1.payload_pb2 import Payload
from sagaline_examples.inventory import POOL_KINDS, Inventory
from sagaline_examples.shapes import SHAPES

NodeKey = tuple[str, str]
"""Saga and node."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the barrier recorded of a node."""

    state: str
    output: Mapping[str, Any]
    """What the action answered; empty where it did not."""


@dataclass(frozen=True, slots=True)
class Holding:
    """What a node took from a pool."""

    table: str
    saga: str
    node: str
    amount: int


@dataclass(frozen=True, slots=True)
class PoolCount:
    """One pool, counted."""

    kind: str
    name: str
    unit: str
    capacity: int
    free: int
    held: int
    """Sum of its holdings."""


@dataclass(frozen=True, slots=True)
class Rows:
    """All that sagas left, and the pools."""

    effects: Mapping[NodeKey, Effect]
    changes: Counter[tuple[str, str, str]]
    """How often each node changed the inventory, by saga, node and "ACTION" or "UNDO"."""
    holdings: tuple[Holding, ...]
    records: frozenset[tuple[str, str]]
    """Table and saga of each record."""
    whole: frozenset[tuple[str, str]]
    """Graph and saga of each record that is complete."""
    pools: tuple[PoolCount, ...]

    def sagas(self) -> frozenset[str]:
        """Every saga that left anything, though it be the memory of an undo."""
        keys = [*self.effects, *((saga, node) for saga, node, _kind in self.changes)]
        held = (holding.saga for holding in self.holdings)
        return frozenset([*(saga for saga, _node in keys), *held, *(saga for _table, saga in self.records)])


def read_rows(inventory: Inventory) -> Rows:
    """Read everything in one snapshot."""
    with inventory.snapshot() as db:
        return Rows(
            effects=_effects(db),
            changes=Counter({(saga, node, kind): count for saga, node, kind, count in db.execute(_CHANGES)}),
            holdings=tuple(_holdings(db)),
            records=frozenset(_records(db)),
            whole=frozenset((graph, row[0]) for graph, shape in SHAPES.items() for row in db.execute(shape.whole)),
            pools=tuple(_pools(db)),
        )


_CHANGES = "SELECT saga, node, kind, count(*) FROM changes GROUP BY saga, node, kind"


def _effects(db: sqlite3.Connection) -> dict[NodeKey, Effect]:
    rows = db.execute("SELECT saga_id, node, state, output FROM sagaline_barrier")
    return {(saga, node): Effect(state, _output(output)) for saga, node, state, output in rows}


def _output(output: bytes | None) -> Mapping[str, Any]:
    value: dict[str, Any] = {} if output is None else decode(Payload.FromString(output))
    return value


def _holdings(db: sqlite3.Connection) -> list[Holding]:
    return [
        Holding(kind.holdings, saga, node, amount)
        for kind in POOL_KINDS
        for saga, node, amount in db.execute(f"SELECT saga, node, amount FROM {kind.holdings}")  # noqa: S608 - a constant
    ]


def _records(db: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [shape.record for shape in SHAPES.values()]
    return [(table, row[0]) for table in tables for row in db.execute(f"SELECT saga FROM {table}")]  # noqa: S608 - a constant


def _pools(db: sqlite3.Connection) -> list[PoolCount]:
    return [
        PoolCount(kind.table, name, kind.unit, capacity, free, held)
        for kind in POOL_KINDS
        for name, capacity, free, held in db.execute(
            f"SELECT name, capacity, free, (SELECT coalesce(sum(amount), 0) FROM {kind.holdings} WHERE pool = name) "  # noqa: S608 - constants
            f"FROM {kind.table} ORDER BY name"
        )
    ]
