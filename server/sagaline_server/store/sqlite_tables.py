"""The tables of the SQLite store, and every statement on them.

Functions over a connection, each of which opens its own transaction. They know
the fence; threads, files and deadlines are `sqlite.py`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sagaline_server.ports.cluster import StoredControl
from sagaline_server.ports.store import (
    Append,
    Claim,
    ListQuery,
    NewSaga,
    OwnedSaga,
    SecRecord,
    Status,
    StoredHead,
    StoredSaga,
    StoreError,
    Write,
    WriteResult,
)
from sagaline_server.store.checks import check_limit, conflict, in_order

SCHEMA_VERSION = 1

# Batches are a rowid table, not one clustered by saga: appends of many sagas then fill the same last pages and only
# the small index is touched all over, which is what the write-ahead log has to sync.
SCHEMA = """
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

INSERT_BATCH = "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?)"
DELETE_CONTROL = "DELETE FROM controls WHERE saga_id = ? AND control_id = ?"
HEAD = """
SELECT r.saga_id, r.record, d.done, o.sec_id, o.incarnation, o.epoch, o.revision
FROM records r LEFT JOIN dones d ON d.saga_id = r.saga_id LEFT JOIN owners o ON o.saga_id = r.saga_id
"""


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


def prepare(connection: sqlite3.Connection) -> None:
    """Create the tables where there are none.

    Raises:
        StoreError: They are of a newer release. Run that one.
    """
    with transaction(connection):
        tables = connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'").fetchone()
        if tables[0] == 0:
            for statement in SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO schema_version VALUES (?)", (SCHEMA_VERSION,))
        version = connection.execute("SELECT version FROM schema_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"the data directory has schema version {version}, written by a newer release; "
                f"this one knows versions up to {SCHEMA_VERSION}"
            )


def register(connection: sqlite3.Connection, sec_id: str, address: str, version: str) -> int:
    """Make a new incarnation. Whoever was registered is dead, because the data directory is this process's now."""
    with transaction(connection):
        incarnation = _count(connection, "incarnation")
        connection.execute("DELETE FROM secs")
        connection.execute("INSERT INTO secs VALUES (?, ?, ?, ?)", (sec_id, incarnation, address, version))
    return incarnation


def unregister(connection: sqlite3.Connection, incarnation: int) -> None:
    """Give the incarnation up."""
    with transaction(connection):
        connection.execute("DELETE FROM secs WHERE incarnation = ?", (incarnation,))


class WriteTransaction:
    """The writes of one commit: each is carried out if its own conditions hold."""

    def __init__(self, connection: sqlite3.Connection, sec_id: str, incarnation: int) -> None:
        self._connection = connection
        self._sec_id = sec_id
        self._incarnation = incarnation
        self._alive = False
        self._revision = 0
        self.problems: list[str] = []

    def run(self, writes: Sequence[Write]) -> list[WriteResult]:
        with transaction(self._connection):
            self._alive = is_alive(self._connection, self._sec_id, self._incarnation)
            self._revision = _count(self._connection, "revision")
            return [self._create(write) if isinstance(write, NewSaga) else self._append(write) for write in writes]

    def _create(self, write: NewSaga) -> WriteResult:
        saga_id = write.saga_id
        row = self._connection.execute("SELECT record FROM records WHERE saga_id = ?", (saga_id,)).fetchone()
        if row is not None:
            there = self._batch(saga_id, 1)
            if there is not None and there[0] == write.writer_id:
                return WriteResult(Status.DONE, there[1], Claim(saga_id, 1, there[1]))
            return WriteResult(Status.EXISTS, record=row[0]) if self._alive else WriteResult(Status.FENCED)
        if not self._alive:
            return WriteResult(Status.FENCED)
        execute, revision = self._connection.execute, self._revision
        listed = write.listed
        execute(
            "INSERT INTO records VALUES (?, ?, ?, ?)",
            (saga_id, listed.graph_name, listed.create_time, write.record),
        )
        execute("INSERT INTO owners VALUES (?, ?, ?, 1, ?)", (saga_id, self._sec_id, self._incarnation, revision))
        execute(INSERT_BATCH, (saga_id, 1, write.writer_id, revision, write.batch))
        return WriteResult(Status.DONE, revision, Claim(saga_id, 1, revision))

    def _append(self, write: Append) -> WriteResult:
        saga_id = write.claim.saga_id
        if not self._alive or not self._owns(write.claim):
            return self._settle_fenced(write)
        if write.batch and (result := self._insert_batch(write)) is not None:
            return result
        for control_id in write.consumes:
            self._connection.execute(DELETE_CONTROL, (saga_id, control_id))
        if write.done is not None:
            done = (saga_id, self._revision, write.done)
            self._connection.execute("INSERT INTO dones VALUES (?, ?, ?)", done)
            self._connection.execute("DELETE FROM owners WHERE saga_id = ?", (saga_id,))
            self._connection.execute("DELETE FROM controls WHERE saga_id = ?", (saga_id,))
        return WriteResult(Status.DONE, self._revision)

    def _insert_batch(self, write: Append) -> WriteResult | None:
        """Insert a batch where none is yet; else return what the one that is there means."""
        row = (write.claim.saga_id, write.first_seq, write.writer_id, self._revision, write.batch)
        if self._connection.execute(INSERT_BATCH, row).rowcount == 1:
            return None
        there = self._batch(write.claim.saga_id, write.first_seq)
        if there is not None and there[0] == write.writer_id:
            return WriteResult(Status.DONE, there[1])
        self.problems.append(conflict(write))
        return WriteResult(Status.FENCED)

    def _settle_fenced(self, write: Append) -> WriteResult:
        """Tell a write that came too late from one that was carried out before, and may even have ended the saga."""
        there = self._batch(write.claim.saga_id, write.first_seq)
        if write.batch and there is not None and there[0] == write.writer_id:
            return WriteResult(Status.DONE, there[1])
        if write.done is not None and self._batch(write.claim.saga_id, 1) is None:
            query = "SELECT revision FROM dones WHERE saga_id = ? AND done = ?"
            row = self._connection.execute(query, (write.claim.saga_id, write.done)).fetchone()
            if row is not None:  # it finished the saga, and the log was removed since
                return WriteResult(Status.DONE, row[0])
        return WriteResult(Status.FENCED)

    def _owns(self, claim: Claim) -> bool:
        query = "SELECT 1 FROM owners WHERE saga_id = ? AND revision = ?"
        return self._connection.execute(query, (claim.saga_id, claim.revision)).fetchone() is not None

    def _batch(self, saga_id: str, seq: int) -> tuple[bytes, int] | None:
        """Return the writer and the revision of a batch."""
        query = "SELECT writer_id, revision FROM batches WHERE saga_id = ? AND first_seq = ?"
        row: tuple[bytes, int] | None = self._connection.execute(query, (saga_id, seq)).fetchone()
        return row


def adopt(
    connection: sqlite3.Connection, sec_id: str, incarnation: int, sagas: Sequence[OwnedSaga]
) -> list[Claim | None]:
    """Claim sagas of dead incarnations, each on its own conditions."""
    with transaction(connection):
        if not is_alive(connection, sec_id, incarnation):
            return [None for _ in sagas]
        revision = _count(connection, "revision")
        return [_adopt(connection, sec_id, incarnation, saga, revision) for saga in sagas]


def _adopt(
    connection: sqlite3.Connection, sec_id: str, incarnation: int, saga: OwnedSaga, revision: int
) -> Claim | None:
    if is_alive(connection, saga.sec_id, saga.incarnation):
        return None
    row = connection.execute(
        "UPDATE owners SET sec_id = ?, incarnation = ?, epoch = epoch + 1, revision = ? "
        "WHERE saga_id = ? AND revision = ? RETURNING epoch",
        (sec_id, incarnation, revision, saga.saga_id, saga.revision),
    ).fetchone()
    return None if row is None else Claim(saga.saga_id, row[0], revision)


def is_alive(connection: sqlite3.Connection, sec_id: str, incarnation: int) -> bool:
    """Tell whether an incarnation lives."""
    query = "SELECT 1 FROM secs WHERE sec_id = ? AND incarnation = ?"
    return connection.execute(query, (sec_id, incarnation)).fetchone() is not None


def read(connection: sqlite3.Connection, saga_id: str) -> StoredSaga | None:
    with transaction(connection, writing=False):
        row = connection.execute(HEAD + "WHERE r.saga_id = ?", (saga_id,)).fetchone()
        if row is None:
            return None
        query = "SELECT batch FROM batches WHERE saga_id = ? ORDER BY first_seq"
        batches = tuple(batch for (batch,) in connection.execute(query, (saga_id,)))
    head = _head(row)
    return StoredSaga(saga_id, head.record, batches, head.owner, head.done)


def list_heads(connection: sqlite3.Connection, query: ListQuery) -> list[StoredHead]:
    check_limit(query.limit)
    conditions, values = ["r.saga_id > ?"], [query.after_id]
    if query.graph_name is not None:
        conditions.append("r.graph_name = ?")
        values.append(query.graph_name)
    if query.unfinished is not None:
        conditions.append("o.saga_id IS NOT NULL" if query.unfinished else "d.saga_id IS NOT NULL")
    statement = f"{HEAD} WHERE {' AND '.join(conditions)} ORDER BY r.saga_id LIMIT ?"
    with transaction(connection, writing=False):
        return [_head(row) for row in connection.execute(statement, (*values, query.limit))]


def list_owned(connection: sqlite3.Connection) -> list[OwnedSaga]:
    query = "SELECT saga_id, sec_id, incarnation, epoch, revision FROM owners ORDER BY saga_id"
    return [OwnedSaga(*row) for row in connection.execute(query)]


def list_secs(connection: sqlite3.Connection) -> list[SecRecord]:
    query = "SELECT sec_id, incarnation, address, version FROM secs ORDER BY sec_id"
    return [SecRecord(*row) for row in connection.execute(query)]


def put_control(connection: sqlite3.Connection, saga_id: str, control_id: str, control: bytes) -> bool:
    """Put a request for the owner, if there is one. The same id again changes nothing."""
    with transaction(connection):
        if connection.execute("SELECT 1 FROM owners WHERE saga_id = ?", (saga_id,)).fetchone() is None:
            return False
        connection.execute("INSERT OR IGNORE INTO controls VALUES (?, ?, ?)", (saga_id, control_id, control))
        return True


def list_controls(connection: sqlite3.Connection, saga_id: str | None) -> list[StoredControl]:
    query = "SELECT saga_id, control_id, control FROM controls WHERE saga_id = ? OR ? IS NULL"
    return in_order(StoredControl(*row) for row in connection.execute(query, (saga_id, saga_id)))


def remove_finished(connection: sqlite3.Connection, saga_ids: Sequence[str], *, keep_summary: bool) -> None:
    with transaction(connection):
        for saga_id in saga_ids:
            if connection.execute("SELECT 1 FROM dones WHERE saga_id = ?", (saga_id,)).fetchone() is None:
                continue
            connection.execute("DELETE FROM batches WHERE saga_id = ?", (saga_id,))
            if not keep_summary:
                connection.execute("DELETE FROM records WHERE saga_id = ?", (saga_id,))
                connection.execute("DELETE FROM dones WHERE saga_id = ?", (saga_id,))


def _count(connection: sqlite3.Connection, name: str) -> int:
    """Add one to a counter and return it."""
    update = "UPDATE counters SET value = value + 1 WHERE name = ? RETURNING value"
    value: int = connection.execute(update, (name,)).fetchone()[0]
    return value


def _head(row: tuple[str, bytes, bytes | None, str | None, int, int, int]) -> StoredHead:
    saga_id, record, done, sec_id, incarnation, epoch, revision = row
    owner = None if sec_id is None else OwnedSaga(saga_id, sec_id, incarnation, epoch, revision)
    return StoredHead(saga_id, record, done, owner)
