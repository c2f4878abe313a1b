"""The limits of the SQLite store."""

from __future__ import annotations

import sqlite3

from sagaline_server.ports.cluster import LimitsChanged, StoredLimit
from sagaline_server.store.sqlite_schema import transaction
from sagaline_server.store.sqlite_tables import Written


def put_limit(connection: sqlite3.Connection, subject: str, limit: bytes) -> Written[None]:
    """Set the limit of a subject; an empty one lifts it."""
    with transaction(connection):
        update = "UPDATE counters SET value = value + 1 WHERE name = 'revision' RETURNING value"
        revision: int = connection.execute(update).fetchone()[0]
        if limit:
            connection.execute("INSERT OR REPLACE INTO limits VALUES (?, ?)", (subject, limit))
        else:
            connection.execute("DELETE FROM limits WHERE subject = ?", (subject,))
        return Written(None, revision, [LimitsChanged()])


def list_limits(connection: sqlite3.Connection) -> list[StoredLimit]:
    """Read all limits."""
    return [StoredLimit(*row) for row in connection.execute("SELECT subject, value FROM limits ORDER BY subject")]
