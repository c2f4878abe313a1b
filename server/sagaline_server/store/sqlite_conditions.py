"""The conditions of the whole cluster, in the SQLite store: limits, and breakpoints on actions."""

from __future__ import annotations

import sqlite3

from sagaline_server.ports.cluster import ConditionsChanged, StoredCondition
from sagaline_server.store.sqlite_schema import count, transaction
from sagaline_server.store.sqlite_tables import Written


def put_condition(connection: sqlite3.Connection, subject: str, value: bytes) -> Written[None]:
    """Set the condition of a subject; an empty one lifts it."""
    with transaction(connection):
        revision = count(connection, "revision")
        if value:
            connection.execute("INSERT OR REPLACE INTO limits VALUES (?, ?)", (subject, value))
        else:
            connection.execute("DELETE FROM limits WHERE subject = ?", (subject,))
        return Written(None, revision, [ConditionsChanged()])


def list_conditions(connection: sqlite3.Connection) -> list[StoredCondition]:
    """Read all conditions."""
    return [StoredCondition(*row) for row in connection.execute("SELECT subject, value FROM limits ORDER BY subject")]
