"""The tables of the SQLite store, and how a data directory of an earlier release gets those of today."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sagaline_server.ports.store import StoreError

# Batches are a rowid table, not one clustered by saga: appends of many sagas then fill the same last pages and only
# the small index is touched all over, which is what the write-ahead log has to sync.
_FIRST = """
CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO counters VALUES ('incarnation', 0), ('revision', 0);
CREATE TABLE secs (
    sec_id TEXT PRIMARY KEY, incarnation INTEGER NOT NULL, address TEXT NOT NULL, version TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    saga_id TEXT NOT NULL, graph_name TEXT NOT NULL, create_time REAL NOT NULL, record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX records_by_id ON records (saga_id);
CREATE INDEX records_by_graph ON records (graph_name, saga_id);
CREATE TABLE owners (
    saga_id TEXT PRIMARY KEY, sec_id TEXT NOT NULL, incarnation INTEGER NOT NULL, epoch INTEGER NOT NULL,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE batches (
    saga_id TEXT NOT NULL, first_seq INTEGER NOT NULL, writer_id BLOB NOT NULL, revision INTEGER NOT NULL,
    batch BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX batches_by_seq ON batches (saga_id, first_seq);
CREATE TABLE controls (
    saga_id TEXT NOT NULL, control_id TEXT NOT NULL, control BLOB NOT NULL, PRIMARY KEY (saga_id, control_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE dones (saga_id TEXT NOT NULL, revision INTEGER NOT NULL, done BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX dones_by_id ON dones (saga_id);
"""

_SECOND = """
ALTER TABLE secs ADD COLUMN draining INTEGER NOT NULL DEFAULT 0;
ALTER TABLE secs ADD COLUMN owned_sagas INTEGER NOT NULL DEFAULT 0;
CREATE TABLE cluster (cluster_id TEXT NOT NULL) STRICT;
INSERT INTO cluster VALUES (lower(hex(randomblob(8))));
"""

_THIRD = """
CREATE TABLE limits (subject TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID
"""

_FOURTH = """
ALTER TABLE secs DROP COLUMN owned_sagas
"""

VERSIONS = (_FIRST, _SECOND, _THIRD, _FOURTH)
"""What makes each version of the schema out of the one before. Never edited, only added to."""


@contextmanager
def transaction(connection: sqlite3.Connection, *, writing: bool = True) -> Iterator[None]:
    """Run the block as one transaction: committed at its end, undone if it raises."""
    connection.execute("BEGIN IMMEDIATE" if writing else "BEGIN")
    try:
        yield
        connection.commit()
    except BaseException:
        connection.rollback()
        raise


def count(connection: sqlite3.Connection, name: str) -> int:
    """Add one to a counter and return it."""
    update = "UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value"
    value: int = connection.execute(update, (name,)).fetchone()[0]
    return value


def prepare(connection: sqlite3.Connection) -> str:
    """Create the tables, or bring them up to date, and return the id that was drawn for the database.

    Raises:
        StoreError: They are of a newer release. Run that one.
    """
    with transaction(connection):
        version = _version(connection)
        if version > len(VERSIONS):
            raise StoreError(
                f"the data directory has schema version {version}, written by a newer release; "
                f"this one knows versions up to {len(VERSIONS)}"
            )
        for script in VERSIONS[version:]:
            for statement in script.split(";"):
                connection.execute(statement)
        if version == 0:
            connection.execute("INSERT INTO schema_version VALUES (?)", (len(VERSIONS),))
        else:
            connection.execute("UPDATE schema_version SET version = ?", (len(VERSIONS),))
        cluster_id: str = connection.execute("SELECT cluster_id FROM cluster").fetchone()[0]
        return cluster_id


def _version(connection: sqlite3.Connection) -> int:
    tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'").fetchone()
    if tables[0] == 0:
        return 0
    version: int = connection.execute("SELECT version FROM schema_version").fetchone()[0]
    return version
