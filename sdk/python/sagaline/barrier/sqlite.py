"""Barriers in SQLite: `sqlite3` of the standard library, and `aiosqlite`.

A transaction that begins with `BEGIN IMMEDIATE` waits for others where it begins. One that only reads at first may
find later that it cannot write ("database is locked"); then it is rolled back, and the attempt comes again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Unpack

from sagaline.barrier.async_barrier import AsyncBarrier, AsyncBegin
from sagaline.barrier.statements import Dialect, Reply, Statement
from sagaline.barrier.steps import BarrierOptions
from sagaline.barrier.sync_barrier import Barrier, Begin
from sagaline.errors import BarrierMisuse

if TYPE_CHECKING:
    import aiosqlite

SAVEPOINT = "sagaline_barrier"


class SqliteBarrier(Barrier[sqlite3.Connection]):
    """A barrier for `sqlite3`.

    Args:
        begin: Begins your transactions and gives the connection, for `transaction()` and `once`.
        **options: See `BarrierOptions`.
    """

    def __init__(self, begin: Begin[sqlite3.Connection] | None = None, **options: Unpack[BarrierOptions]) -> None:
        super().__init__(_Sqlite(), begin, **options)


class AsyncSqliteBarrier(AsyncBarrier["aiosqlite.Connection"]):
    """A barrier for `aiosqlite`.

    Args:
        begin: Begins your transactions and gives the connection, for `transaction()` and `once`.
        **options: See `BarrierOptions`.
    """

    def __init__(
        self, begin: AsyncBegin[aiosqlite.Connection] | None = None, **options: Unpack[BarrierOptions]
    ) -> None:
        super().__init__(_Aiosqlite(), begin, **options)


class _Common:
    dialect = Dialect.SQLITE

    def subject(self, begun: object) -> object:
        """A connection begins its own transactions."""
        return begun

    def contended(self, error: BaseException) -> bool:
        """Connections wait for each other for as long as they were told to: waiting again is the SEC's business."""
        return False


class _Sqlite(_Common):
    def check(self, tx: sqlite3.Connection) -> None:
        """See `Driver`."""
        if not in_transaction_soon(tx):
            raise BarrierMisuse(NO_TRANSACTION)

    def execute(self, tx: sqlite3.Connection, statement: Statement) -> Reply:
        """Run a statement, whatever rows look like on this connection."""
        cursor = tx.cursor()
        cursor.row_factory = None
        try:
            cursor.execute(statement.sql, dict(statement.parameters))
            return Reply(cursor.rowcount, cursor.fetchone() if statement.reads else None)
        finally:
            cursor.close()

    @contextmanager
    def savepoint(self, tx: sqlite3.Connection) -> Iterator[None]:
        """See `Driver`."""
        tx.execute(f"SAVEPOINT {SAVEPOINT}")
        try:
            yield
        except BaseException:
            tx.execute(f"ROLLBACK TO {SAVEPOINT}")
            tx.execute(f"RELEASE {SAVEPOINT}")
            raise
        tx.execute(f"RELEASE {SAVEPOINT}")


class _Aiosqlite(_Common):
    async def check(self, tx: aiosqlite.Connection) -> None:
        """See `Driver`."""
        if not in_transaction_soon(tx):
            raise BarrierMisuse(NO_TRANSACTION)

    async def execute(self, tx: aiosqlite.Connection, statement: Statement) -> Reply:
        """Run a statement, whatever rows look like on this connection."""
        cursor = await tx.cursor()
        cursor.row_factory = None
        try:
            await cursor.execute(statement.sql, dict(statement.parameters))
            row: Any = await cursor.fetchone() if statement.reads else None
            return Reply(cursor.rowcount, row)
        finally:
            await cursor.close()

    @asynccontextmanager
    async def savepoint(self, tx: aiosqlite.Connection) -> AsyncIterator[None]:
        """See `Driver`."""
        await tx.execute(f"SAVEPOINT {SAVEPOINT}")
        try:
            yield
        except BaseException:
            await tx.execute(f"ROLLBACK TO {SAVEPOINT}")
            await tx.execute(f"RELEASE {SAVEPOINT}")
            raise
        await tx.execute(f"RELEASE {SAVEPOINT}")


NO_TRANSACTION = (
    "no transaction is open on this connection, which commits every statement by itself: `BEGIN IMMEDIATE` first"
)


def in_transaction_soon(connection: sqlite3.Connection | aiosqlite.Connection) -> bool:
    """Whether a transaction is open, or the first write will begin one."""
    if connection.in_transaction:
        return True
    legacy = getattr(sqlite3, "LEGACY_TRANSACTION_CONTROL", -1)
    inner = getattr(connection, "_conn", connection)  # aiosqlite passes not everything on
    autocommit = getattr(inner, "autocommit", legacy)  # since Python 3.12
    return connection.isolation_level is not None if autocommit == legacy else not autocommit
