"""Barriers on psycopg's connections, whatever state and settings they are in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from sagaline import Failed
from sagaline.barrier import AsyncPsycopgBarrier, PsycopgBarrier, Undone, schema
from sagaline.errors import BarrierMisuse, Suppressed
from tests.unit.barrier.contexts import action_context, undo_context

pytestmark = pytest.mark.postgres

Connection = psycopg.Connection[Any]


@pytest.fixture
def db(postgres_url: str) -> Iterator[Connection]:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        PsycopgBarrier().create_table(connection)
        connection.execute("CREATE TABLE seats (seat INTEGER PRIMARY KEY)")
        yield connection


def take_seat(db: Connection) -> int:
    db.execute("INSERT INTO seats VALUES (4)")
    return 4


def seats(db: Connection) -> int:
    return len(db.execute("SELECT FROM seats").fetchall())


def test_a_transaction_block_of_an_autocommit_connection(db: Connection) -> None:
    """`connection.transaction()` gives a Transaction; the barrier is called with its connection."""
    barrier = PsycopgBarrier()
    with barrier.transaction(db.transaction):
        assert barrier.action(db, action_context(), take_seat, returns=int) == 4
    with pytest.raises(Failed, match="SoldOut"), barrier.transaction(db.transaction):
        barrier.action(db, action_context(node="meal"), _sold_out, returns=int)
    with pytest.raises(Failed, match="SoldOut"), barrier.transaction(db.transaction):
        barrier.action(db, action_context(node="meal"), take_seat, returns=int)
    assert seats(db) == 1


def _sold_out(db: Connection) -> int:
    raise Failed("SoldOut")


async def test_a_transaction_block_of_an_async_connection(db: Connection, postgres_url: str) -> None:
    barrier = AsyncPsycopgBarrier()

    async def take(tx: psycopg.AsyncConnection[Any]) -> int:
        await tx.execute("INSERT INTO seats VALUES (4)")
        return 4

    connection = await psycopg.AsyncConnection.connect(postgres_url, autocommit=True)
    async with connection, barrier.transaction(connection.transaction):
        assert await barrier.action(connection, action_context(), take, returns=int) == 4
    assert seats(db) == 1


def test_a_connection_that_commits_every_statement_is_refused(db: Connection) -> None:
    barrier = PsycopgBarrier()

    @contextmanager
    def nothing_begun() -> Iterator[Connection]:
        yield db

    with pytest.raises(BarrierMisuse, match="autocommit"), barrier.transaction(nothing_begun):
        barrier.action(db, action_context(), take_seat, returns=int)
    assert seats(db) == 0


def test_a_transaction_that_has_failed_is_refused(db: Connection) -> None:
    barrier = PsycopgBarrier()

    def fail_first() -> None:
        with barrier.transaction(db.transaction):
            with pytest.raises(psycopg.errors.DivisionByZero):
                db.execute("SELECT 1 / 0")
            barrier.action(db, action_context(), take_seat, returns=int)

    with pytest.raises(BarrierMisuse, match="comes first"):
        fail_first()


def test_a_failure_may_follow_an_error_of_the_database(db: Connection) -> None:
    """The savepoint takes the action's statements back, the failed one among them; the verdict is committed."""
    db.execute("INSERT INTO seats VALUES (4)")
    barrier = PsycopgBarrier(db.transaction)  # type: ignore[arg-type]

    def take(tx: Connection) -> int:
        try:
            return take_seat(tx)
        except psycopg.errors.UniqueViolation as error:
            raise Failed("SeatTaken") from error

    for _ in range(2):
        with pytest.raises(Failed, match="SeatTaken"), barrier.transaction():
            barrier.action(db, action_context(), take, returns=int)
    with barrier.transaction():
        assert barrier.undo(db, undo_context(), lambda _db, _output: None) is Undone.NOTHING
    assert seats(db) == 1


def test_rows_and_placeholders_may_look_as_they_like_on_the_connection(db: Connection) -> None:
    db.row_factory = dict_row
    db.cursor_factory = psycopg.RawCursor
    barrier = PsycopgBarrier()
    for _ in range(2):
        with barrier.transaction(db.transaction):
            assert barrier.action(db, action_context(), take_seat, returns=int) == 4
    with barrier.transaction(db.transaction):
        assert barrier.undo(db, undo_context(), lambda _db, _output: None) is Undone.NOW
    with pytest.raises(Suppressed), barrier.transaction(db.transaction):
        barrier.action(db, action_context(), take_seat, returns=int)


def test_the_table_may_be_in_a_schema_of_its_own(db: Connection) -> None:
    db.execute("CREATE SCHEMA billing")
    for statement in schema("postgresql", "billing.barrier").split(";\n"):
        db.execute(statement.encode())
    barrier = PsycopgBarrier(table="billing.barrier")
    barrier.create_table(db)  # it is there already
    with barrier.transaction(db.transaction):
        barrier.action(db, action_context(), take_seat, returns=int)
    row = db.execute("SELECT saga_id, node, scope, state, expires_at FROM billing.barrier").fetchone()
    assert row == ("saga-1", "seat", "", "DONE", None)
    index = "SELECT schemaname, tablename FROM pg_indexes WHERE indexname = 'barrier_expires_at'"
    assert db.execute(index).fetchall() == [("billing", "barrier")]


def test_what_the_action_writes_may_be_anything(db: Connection) -> None:
    """Its own statements are not the barrier's business."""
    db.execute("CREATE TABLE notes (note jsonb)")
    barrier = PsycopgBarrier()

    def note(tx: Connection) -> dict[str, int]:
        tx.execute("INSERT INTO notes VALUES (%s)", [Jsonb({"a:b": "%s"})])
        return {"a": 1}

    for _ in range(2):
        with barrier.transaction(db.transaction):
            assert barrier.action(db, action_context(), note, returns=dict[str, int]) == {"a": 1}
