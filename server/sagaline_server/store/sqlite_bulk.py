"""What a commit writes as a rule, many rows in one statement.

Each statement lets go of the interpreter once, however many rows it has, and a
busy event loop gives it back only after a while: row by row, a commit of a
hundred sagas waits hundreds of times. Nothing is decided here: as soon as one
row is not as it should be, all of it is undone, and the writes are carried out
one by one by whoever knows what each of them means.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache

from sagaline_server.ports.cluster import ControlGone
from sagaline_server.ports.store import Append, Claim, NewSaga, Status, Write, WriteResult

ROWS = (64, 16, 4, 1)
"""How many rows a statement has: a few sizes, so that SQLite prepares each only once."""

Row = tuple[object, ...]


class NotPlain(Exception):
    """Some write has to be looked at by itself. The transaction is to be rolled back."""


class BulkWrite:
    """Some writes of one commit, in a transaction that has begun, by an incarnation that lives."""

    def __init__(self, connection: sqlite3.Connection, sec_id: str, incarnation: int, revision: int) -> None:
        self._connection = connection
        self._owner = (sec_id, incarnation)
        self._revision = revision
        self.gone: list[ControlGone] = []

    def run(self, writes: Sequence[Write]) -> list[WriteResult]:
        """Carry out writes that consume no requests.

        Raises:
            NotPlain: A condition does not hold, or something is there already.
        """
        created = [write for write in writes if isinstance(write, NewSaga)]
        appended = [write for write in writes if isinstance(write, Append)]
        self._check_claims([write.claim for write in appended])
        self._create(created)
        self._insert_batches(created, appended)
        self._end([write for write in appended if write.done is not None])
        revision = self._revision
        done = WriteResult(Status.DONE, revision)
        return [
            WriteResult(Status.DONE, revision, Claim(write.saga_id, 1, revision))
            if isinstance(write, NewSaga)
            else done
            for write in writes
        ]

    def _check_claims(self, claims: Sequence[Claim]) -> None:
        held = 0
        for part in _parts([(claim.saga_id, claim.revision) for claim in claims]):
            held += self._connection.execute(_count_held(len(part)), _flat(part)).fetchone()[0]
        if held != len(claims):
            raise NotPlain

    def _create(self, created: Sequence[NewSaga]) -> None:
        records = [
            (write.saga_id, write.listed.graph_name, write.listed.create_time, write.record) for write in created
        ]
        self._insert("records", records)
        self._insert("owners", [(write.saga_id, *self._owner, 1, self._revision) for write in created])

    def _insert_batches(self, created: Sequence[NewSaga], appended: Sequence[Append]) -> None:
        revision = self._revision
        rows: list[Row] = [(write.saga_id, 1, write.writer_id, revision, write.batch) for write in created]
        rows += [(write.claim.saga_id, write.first_seq, write.writer_id, revision, write.batch) for write in appended]
        self._insert("batches", rows)

    def _end(self, ended: Sequence[Append]) -> None:
        if not ended:
            return
        self._insert("dones", [(write.claim.saga_id, self._revision, write.done) for write in ended])
        has_controls = self._connection.execute("SELECT 1 FROM controls LIMIT 1").fetchone() is not None
        for part in _parts([(write.claim.saga_id,) for write in ended]):
            sagas = _flat(part)
            self._connection.execute(_delete_from("owners", len(sagas)), sagas)
            if has_controls:
                delete = _delete_from("controls", len(sagas)) + " RETURNING saga_id, control_id"
                self.gone += [ControlGone(*row) for row in self._connection.execute(delete, sagas)]

    def _insert(self, table: str, rows: Sequence[Row]) -> None:
        inserted = 0
        for part in _parts(rows):
            inserted += self._connection.execute(_insert_into(table, len(part[0]), len(part)), _flat(part)).rowcount
        if inserted != len(rows):
            raise NotPlain


def _parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    start = 0
    for size in ROWS:
        while len(rows) - start >= size:
            yield rows[start : start + size]
            start += size


def _flat(rows: Sequence[Row]) -> list[object]:
    return [value for row in rows for value in row]


@lru_cache
def _marks(count: int) -> str:
    return ", ".join(["?"] * count)


@lru_cache
def _insert_into(table: str, columns: int, rows: int) -> str:
    values = ", ".join([f"({_marks(columns)})"] * rows)
    return f"INSERT OR IGNORE INTO {table} VALUES {values}"  # noqa: S608 - the tables are named above


@lru_cache
def _delete_from(table: str, rows: int) -> str:
    return f"DELETE FROM {table} WHERE saga_id IN ({_marks(rows)})"  # noqa: S608 - as above


@lru_cache
def _count_held(rows: int) -> str:
    claims = ", ".join(["(?, ?)"] * rows)
    return (
        f"WITH claims (saga_id, revision) AS (VALUES {claims}) "  # noqa: S608 - nothing but question marks
        "SELECT count(*) FROM claims c CROSS JOIN owners o ON o.saga_id = c.saga_id AND o.revision = c.revision"
    )
