"""Every statement on the tables of the SQLite store that writes or reads sagas and owners.

Functions over a connection, each of which opens its own transaction. They know
the fence; threads, files, deadlines and watches are `sqlite.py`'s.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Generic, TypeVar

import msgspec

from sagaline_server.ports.cluster import (
    ClusterEvent,
    ControlGone,
    ControlPut,
    HandOff,
    HandOffFate,
    SecsChanged,
    StoredControl,
)
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
    Write,
    WriteResult,
)
from sagaline_server.store.checks import check_limit, conflict, in_order, saga_of
from sagaline_server.store.log_tail import LogTail, log_tail
from sagaline_server.store.sqlite_bulk import BulkWrite, NotPlain
from sagaline_server.store.sqlite_schema import count, transaction

T = TypeVar("T")

INSERT_BATCH = "INSERT OR IGNORE INTO batches VALUES (?, ?, ?, ?, ?)"
DELETE_CONTROL = "DELETE FROM controls WHERE saga_id = ? AND control_id = ? RETURNING control_id"
DELETE_CONTROLS = "DELETE FROM controls WHERE saga_id = ? RETURNING control_id"
SAGAS_PER_READ = 100
BULK_WRITES = 4
"""Fewer are written one by one."""
HEAD = """
SELECT r.saga_id, r.record, d.done, o.sec_id, o.incarnation, o.epoch, o.revision
FROM records r LEFT JOIN dones d ON d.saga_id = r.saga_id LEFT JOIN owners o ON o.saga_id = r.saga_id
"""
OWNER = "SELECT saga_id, sec_id, incarnation, epoch, revision FROM owners "
TAIL = """
SELECT first_seq, batch FROM batches WHERE saga_id = ? AND first_seq >= coalesce(
    (SELECT max(first_seq) FROM batches WHERE saga_id = ? AND first_seq <= ?), 0
) ORDER BY first_seq LIMIT ?
"""


class Written(msgspec.Struct, Generic[T], frozen=True):
    """What a transaction that writes did."""

    value: T
    revision: int
    """Store revision afterwards."""
    events: Sequence[ClusterEvent] = ()
    """What watchers are to be told."""
    logs: Sequence[str] = ()
    """Sagas whose logs have changed."""


def register(connection: sqlite3.Connection, sec_id: str, address: str, version: str) -> Written[int]:
    """Make a new incarnation. Whoever was registered is dead, because the data directory is this process's now."""
    with transaction(connection):
        incarnation = count(connection, "incarnation")
        connection.execute("DELETE FROM secs")
        connection.execute("INSERT INTO secs VALUES (?, ?, ?, ?, 0)", (sec_id, incarnation, address, version))
        return Written(incarnation, count(connection, "revision"), [SecsChanged()])


def change(connection: sqlite3.Connection, incarnation: int, draining: int) -> Written[bool]:
    """Change a registration; False when the incarnation is dead."""
    with transaction(connection):
        update = "UPDATE secs SET draining = ? WHERE incarnation = ?"
        is_alive = connection.execute(update, (draining, incarnation)).rowcount == 1
        return Written(is_alive, count(connection, "revision"), [SecsChanged()] if is_alive else [])


def unregister(connection: sqlite3.Connection, incarnation: int) -> Written[None]:
    """Give the incarnation up."""
    with transaction(connection):
        connection.execute("DELETE FROM secs WHERE incarnation = ?", (incarnation,))
        return Written(None, count(connection, "revision"), [SecsChanged()])


class WriteTransaction:
    """The writes of one commit: each is carried out if its own conditions hold."""

    def __init__(self, connection: sqlite3.Connection, sec_id: str, incarnation: int) -> None:
        self._connection = connection
        self._sec_id = sec_id
        self._incarnation = incarnation
        self._alive = False
        self._revision = 0
        self._gone: list[ControlGone] = []
        self.problems: dict[str, str] = {}

    def run(self, writes: Sequence[Write]) -> Written[list[WriteResult]]:
        if len(writes) >= BULK_WRITES and all(
            isinstance(write, NewSaga) or (write.batch and not write.consumes) for write in writes
        ):
            try:
                return self._run_in_bulk(writes)
            except NotPlain:
                pass
        return self._run_one_by_one(writes)

    def _run_in_bulk(self, writes: Sequence[Write]) -> Written[list[WriteResult]]:
        with transaction(self._connection):
            if not is_alive(self._connection, self._sec_id, self._incarnation):
                raise NotPlain
            revision = count(self._connection, "revision")
            bulk = BulkWrite(self._connection, self._sec_id, self._incarnation, revision)
            results = bulk.run(writes)
        return Written(results, revision, bulk.gone, [saga_of(write) for write in writes])

    def _run_one_by_one(self, writes: Sequence[Write]) -> Written[list[WriteResult]]:
        with transaction(self._connection):
            self._alive = is_alive(self._connection, self._sec_id, self._incarnation)
            self._revision = count(self._connection, "revision")
            results = [self._create(write) if isinstance(write, NewSaga) else self._append(write) for write in writes]
        logs = [saga_of(write) for write, result in zip(writes, results, strict=True) if result.status is Status.DONE]
        return Written(results, self._revision, self._gone, logs)

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
        if not self._alive or not owns(self._connection, write.claim):
            return self._settle_fenced(write)
        if write.batch and (result := self._insert_batch(write)) is not None:
            return result
        for control_id in write.consumes:
            self._remove_controls(DELETE_CONTROL, saga_id, control_id)
        if write.done is not None:
            done = (saga_id, self._revision, write.done)
            self._connection.execute("INSERT INTO dones VALUES (?, ?, ?)", done)
            self._connection.execute("DELETE FROM owners WHERE saga_id = ?", (saga_id,))
            self._remove_controls(DELETE_CONTROLS, saga_id)
        return WriteResult(Status.DONE, self._revision)

    def _remove_controls(self, statement: str, *keys: str) -> None:
        self._gone += [ControlGone(keys[0], control_id) for (control_id,) in self._connection.execute(statement, keys)]

    def _insert_batch(self, write: Append) -> WriteResult | None:
        """Insert a batch where none is yet; else return what the one that is there means."""
        row = (write.claim.saga_id, write.first_seq, write.writer_id, self._revision, write.batch)
        if self._connection.execute(INSERT_BATCH, row).rowcount == 1:
            return None
        there = self._batch(write.claim.saga_id, write.first_seq)
        if there is not None and there[0] == write.writer_id:
            return WriteResult(Status.DONE, there[1])
        self.problems[write.claim.saga_id] = conflict(write)
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

    def _batch(self, saga_id: str, seq: int) -> tuple[bytes, int] | None:
        """Return the writer and the revision of a batch."""
        query = "SELECT writer_id, revision FROM batches WHERE saga_id = ? AND first_seq = ?"
        row: tuple[bytes, int] | None = self._connection.execute(query, (saga_id, seq)).fetchone()
        return row


def adopt(
    connection: sqlite3.Connection, sec_id: str, incarnation: int, sagas: Sequence[OwnedSaga]
) -> Written[list[Claim | None]]:
    """Claim sagas of dead incarnations, each on its own conditions."""
    with transaction(connection):
        revision = count(connection, "revision")
        if not is_alive(connection, sec_id, incarnation):
            return Written([None for _ in sagas], revision)
        owners = {(saga.sec_id, saga.incarnation) for saga in sagas}
        living = {owner for owner in owners if is_alive(connection, *owner)}
        return Written(
            [
                None
                if (saga.sec_id, saga.incarnation) in living
                else _adopt(connection, sec_id, incarnation, saga, revision)
                for saga in sagas
            ],
            revision,
        )


def _adopt(
    connection: sqlite3.Connection, sec_id: str, incarnation: int, saga: OwnedSaga, revision: int
) -> Claim | None:
    row = connection.execute(
        "UPDATE owners SET sec_id = ?, incarnation = ?, epoch = epoch + 1, revision = ? "
        "WHERE saga_id = ? AND revision = ? RETURNING epoch",
        (sec_id, incarnation, revision, saga.saga_id, saga.revision),
    ).fetchone()
    return None if row is None else Claim(saga.saga_id, row[0], revision)


def hand_off(
    connection: sqlite3.Connection, sec_id: str, incarnation: int, hand_offs: Sequence[HandOff]
) -> list[HandOffFate]:
    """Say what becomes of hand-offs where no other SEC can live: no target does."""
    with transaction(connection, writing=False):
        alive = is_alive(connection, sec_id, incarnation)
        return [
            HandOffFate.TARGET_GONE if alive and owns(connection, hand_off.claim) else HandOffFate.FENCED
            for hand_off in hand_offs
        ]


def owns(connection: sqlite3.Connection, claim: Claim) -> bool:
    """Tell whether a claim is current."""
    query = "SELECT 1 FROM owners WHERE saga_id = ? AND revision = ?"
    return connection.execute(query, (claim.saga_id, claim.revision)).fetchone() is not None


def is_alive(connection: sqlite3.Connection, sec_id: str, incarnation: int) -> bool:
    """Tell whether an incarnation lives."""
    query = "SELECT 1 FROM secs WHERE sec_id = ? AND incarnation = ?"
    return connection.execute(query, (sec_id, incarnation)).fetchone() is not None


def read_many(connection: sqlite3.Connection, saga_ids: Sequence[str]) -> list[StoredSaga | None]:
    """Read sagas, many in a statement: each statement lets go of the interpreter, and may get it back late."""
    found: dict[str, StoredSaga] = {}
    with transaction(connection, writing=False):
        for start in range(0, len(saga_ids), SAGAS_PER_READ):
            part = saga_ids[start : start + SAGAS_PER_READ]
            marks = ", ".join("?" * len(part))
            batches: dict[str, list[bytes]] = {saga_id: [] for saga_id in part}
            query = f"SELECT saga_id, batch FROM batches WHERE saga_id IN ({marks}) ORDER BY saga_id, first_seq"  # noqa: S608
            for saga_id, batch in connection.execute(query, part).fetchall():
                batches[saga_id].append(batch)
            for row in connection.execute(f"{HEAD} WHERE r.saga_id IN ({marks})", part).fetchall():
                head = _head(row)
                log = tuple(batches[head.saga_id])
                found[head.saga_id] = StoredSaga(head.saga_id, head.record, log, head.owner, head.done)
    return [found.get(saga_id) for saga_id in saga_ids]


def read(connection: sqlite3.Connection, saga_id: str) -> StoredSaga | None:
    with transaction(connection, writing=False):
        row = connection.execute(HEAD + "WHERE r.saga_id = ?", (saga_id,)).fetchone()
        if row is None:
            return None
        query = "SELECT batch FROM batches WHERE saga_id = ? ORDER BY first_seq"
        batches = tuple(batch for (batch,) in connection.execute(query, (saga_id,)))
    head = _head(row)
    return StoredSaga(saga_id, head.record, batches, head.owner, head.done)


def read_tail(connection: sqlite3.Connection, saga_id: str, from_seq: int, limit: int) -> LogTail | None:
    """Read a page of a saga's log from an entry on; None where there is no such saga."""
    with transaction(connection, writing=False):
        if connection.execute("SELECT 1 FROM records WHERE saga_id = ?", (saga_id,)).fetchone() is None:
            return None
        is_done = connection.execute("SELECT 1 FROM dones WHERE saga_id = ?", (saga_id,)).fetchone() is not None
        rows = connection.execute(TAIL, (saga_id, saga_id, from_seq, limit + 2))
        return log_tail(rows.fetchall(), from_seq, limit, is_done=is_done)


def read_owners(connection: sqlite3.Connection, saga_ids: Sequence[str]) -> list[OwnedSaga | None]:
    with transaction(connection, writing=False):
        rows = [connection.execute(OWNER + "WHERE saga_id = ?", (saga_id,)).fetchone() for saga_id in saga_ids]
    return [None if row is None else OwnedSaga(*row) for row in rows]


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
    return [OwnedSaga(*row) for row in connection.execute(OWNER + "ORDER BY saga_id")]


def list_secs(connection: sqlite3.Connection) -> list[SecRecord]:
    query = "SELECT sec_id, incarnation, address, version, draining FROM secs ORDER BY sec_id"
    return [
        SecRecord(sec_id, incarnation, address, version, bool(draining))
        for sec_id, incarnation, address, version, draining in connection.execute(query)
    ]


def put_control(connection: sqlite3.Connection, saga_id: str, control_id: str, control: bytes) -> Written[bool]:
    """Put a request for the owner, if there is one. The same id again changes nothing."""
    with transaction(connection):
        revision = count(connection, "revision")
        if connection.execute("SELECT 1 FROM owners WHERE saga_id = ?", (saga_id,)).fetchone() is None:
            return Written(False, revision)
        row = (saga_id, control_id, control)
        is_new = connection.execute("INSERT OR IGNORE INTO controls VALUES (?, ?, ?)", row).rowcount == 1
        return Written(True, revision, [ControlPut(StoredControl(*row))] if is_new else [])


def list_controls(connection: sqlite3.Connection, saga_id: str | None) -> list[StoredControl]:
    query = "SELECT saga_id, control_id, control FROM controls WHERE saga_id = ? OR ? IS NULL"
    return in_order(StoredControl(*row) for row in connection.execute(query, (saga_id, saga_id)))


def remove_finished(
    connection: sqlite3.Connection, saga_ids: Sequence[str], keep_summary: int, dones: Mapping[str, bytes] | None
) -> Written[None]:
    with transaction(connection):
        revision = count(connection, "revision")
        for saga_id in saga_ids:
            row = connection.execute("SELECT done FROM dones WHERE saga_id = ?", (saga_id,)).fetchone()
            if row is None or (dones is not None and row[0] != dones.get(saga_id)):
                continue
            connection.execute("DELETE FROM batches WHERE saga_id = ?", (saga_id,))
            if not keep_summary:
                connection.execute("DELETE FROM records WHERE saga_id = ?", (saga_id,))
                connection.execute("DELETE FROM dones WHERE saga_id = ?", (saga_id,))
        return Written(None, revision, logs=saga_ids)


def _head(row: tuple[str, bytes, bytes | None, str | None, int, int, int]) -> StoredHead:
    saga_id, record, done, sec_id, incarnation, epoch, revision = row
    owner = None if sec_id is None else OwnedSaga(saga_id, sec_id, incarnation, epoch, revision)
    return StoredHead(saga_id, record, done, owner)
