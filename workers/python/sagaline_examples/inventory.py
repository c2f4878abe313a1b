"""The world that the examples change: one SQLite file with pools that run out, used by several worker processes.

A *pool* has a capacity and knows how much of it is free: a server its cores, a flight its seats, an account its cents.
A *holding* is what one node of one saga took from a pool, so that capacity = free + holdings at every commit. Each
holding has a number of its own in its pool, which is the seat, the room, or the last part of an address.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sagaline import Context
from sagaline.barrier import Dialect, schema
from sagaline.errors import Failed, Retry

BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for those of other processes and threads before its action is tried again."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The node of a saga that holds something."""

    saga: str
    node: str

    @classmethod
    def of(cls, context: Context) -> Holder:
        return cls(context.saga_id, context.node)


@dataclass(frozen=True, slots=True)
class PoolKind:
    """One kind of pool, and where its holdings are."""

    table: str
    holdings: str
    unit: str
    columns: str = ""
    """What a holding has besides."""


SERVERS = PoolKind("servers", "reservations", "cores")
ARRAYS = PoolKind(
    "arrays", "volumes", "GB", ", attached_to TEXT, locked INTEGER NOT NULL DEFAULT 0 CHECK (locked IN (0, 1))"
)
NETWORKS = PoolKind("networks", "addresses", "addresses", ", host TEXT")
ACCOUNTS = PoolKind("accounts", "charges", "cents")
HOTELS = PoolKind("hotels", "rooms", "rooms")
FLIGHTS = PoolKind("flights", "seats", "seats")
STATIONS = PoolKind("stations", "rentals", "cars")

POOL_KINDS = (SERVERS, ARRAYS, NETWORKS, ACCOUNTS, HOTELS, FLIGHTS, STATIONS)

_POOL_SCHEMA = """
CREATE TABLE IF NOT EXISTS {table} (
  name     TEXT PRIMARY KEY,
  capacity INTEGER NOT NULL,
  free     INTEGER NOT NULL CHECK (free BETWEEN 0 AND capacity)
) STRICT;

CREATE TABLE IF NOT EXISTS {holdings} (
  saga   TEXT NOT NULL,
  node   TEXT NOT NULL,
  pool   TEXT NOT NULL REFERENCES {table} (name),
  number INTEGER NOT NULL,
  amount INTEGER NOT NULL CHECK (amount > 0)
  {columns},
  PRIMARY KEY (saga, node),
  UNIQUE (pool, number)
) STRICT;
"""

_CHANGES_SCHEMA = """
CREATE TABLE IF NOT EXISTS changes (
  id      INTEGER PRIMARY KEY,
  saga    TEXT NOT NULL,
  node    TEXT NOT NULL,
  kind    TEXT NOT NULL CHECK (kind IN ('ACTION', 'UNDO'))
) STRICT;
"""

_RECORDS_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
  saga    TEXT PRIMARY KEY,
  name    TEXT NOT NULL,
  state   TEXT NOT NULL CHECK (state IN ('NEW', 'CONFIGURED', 'RUNNING')),
  address TEXT,
  server  TEXT
) STRICT;

CREATE TABLE IF NOT EXISTS itineraries (
  saga      TEXT PRIMARY KEY,
  traveller TEXT NOT NULL,
  summary   TEXT NOT NULL
) STRICT;
"""


class Inventory:
    """One connection to the file, shared by the threads of a process; SQLite writes one transaction at a time anyway.

    Args:
        path: The file; it and its tables are made where they are missing.
        durable: Whether what an action answered must survive a power cut. Tests have no power cuts.
    """

    def __init__(self, path: Path, *, durable: bool = True) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(_schema())

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Begin a transaction that holds the write lock; commit it at the end, or roll it back on an exception."""
        with self._connection("BEGIN IMMEDIATE") as db:
            yield db

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """Read one state of the whole inventory, while others go on writing."""
        with self._connection("BEGIN") as db:
            yield db

    @contextmanager
    def _connection(self, begin: str) -> Iterator[sqlite3.Connection]:
        if not self._lock.acquire(timeout=BUSY_TIMEOUT_S):
            raise Retry("InventoryBusy", "other transactions of this worker took too long")
        try:
            self._db.execute(begin)
            yield self._db
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._lock.release()

    def stock(self, kind: PoolKind, name: str, capacity: int) -> None:
        """Add a pool, all of it free. One of that name stays as it is."""
        with self.transaction() as db:
            db.execute(
                f"INSERT INTO {kind.table} (name, capacity, free) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",  # noqa: S608 - a constant
                (name, capacity, capacity),
            )


def take(db: sqlite3.Connection, kind: PoolKind, name: str, holder: Holder, amount: int = 1) -> int:
    """Take from a pool for a node, and return the holding's number: the lowest that is free, from 1.

    Raises:
        Failed: "NoCapacity": that much is not free. "NoSuchPool": there is none of that name.
    """
    row = db.execute(f"SELECT free FROM {kind.table} WHERE name = ?", (name,)).fetchone()  # noqa: S608 - a constant
    if row is None:
        raise Failed("NoSuchPool", f"there is no {name} among the {kind.table}")
    if row[0] < amount:
        raise Failed("NoCapacity", f"{name} has {row[0]} {kind.unit} free, {amount} are asked for")
    number = _lowest_free_number(db, kind, name)
    db.execute(f"UPDATE {kind.table} SET free = free - ? WHERE name = ?", (amount, name))  # noqa: S608 - a constant
    db.execute(
        f"INSERT INTO {kind.holdings} (saga, node, pool, number, amount) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - a constant
        (holder.saga, holder.node, name, number, amount),
    )
    return number


def give_back(db: sqlite3.Connection, kind: PoolKind, holder: Holder) -> None:
    """Return to its pool what a node took.

    Raises:
        Failed: "HoldingMissing": somebody removed it by other ways, and an operator has to look.
    """
    row = db.execute(
        f"DELETE FROM {kind.holdings} WHERE saga = ? AND node = ? RETURNING pool, amount",  # noqa: S608 - a constant
        (holder.saga, holder.node),
    ).fetchone()
    if row is None:
        raise Failed("HoldingMissing", f"{holder.saga} holds nothing of {kind.table} for its node {holder.node}")
    name, amount = row
    db.execute(f"UPDATE {kind.table} SET free = free + ? WHERE name = ?", (amount, name))  # noqa: S608 - a constant


def _lowest_free_number(db: sqlite3.Connection, kind: PoolKind, name: str) -> int:
    held = f"SELECT number FROM {kind.holdings} WHERE pool = :pool"  # noqa: S608 - a constant
    row = db.execute(
        f"SELECT min(number) + 1 FROM (SELECT 0 AS number UNION ALL {held}) WHERE number + 1 NOT IN ({held})",  # noqa: S608 - constants
        {"pool": name},
    ).fetchone()
    return int(row[0])


def _schema() -> str:
    pools = [_POOL_SCHEMA.format(table=kind.table, holdings=kind.holdings, columns=kind.columns) for kind in POOL_KINDS]
    return "\n".join([schema(Dialect.SQLITE), _CHANGES_SCHEMA, *pools, _RECORDS_SCHEMA])


_of_this_process: Inventory | None = None


def open_inventory(path: Path, *, durable: bool = True) -> Inventory:
    """Open the inventory that the actions of this process change. Once a process, before its worker runs."""
    global _of_this_process  # noqa: PLW0603 - actions are plain functions: this is how they get at what they work on
    _of_this_process = Inventory(path, durable=durable)
    return _of_this_process


def inventory() -> Inventory:
    """Return the inventory that the actions of this process change."""
    assert _of_this_process is not None, "open_inventory was not called"
    return _of_this_process
