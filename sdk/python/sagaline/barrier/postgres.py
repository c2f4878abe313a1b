"""Barriers in PostgreSQL with psycopg 3.

READ COMMITTED, the default, is what they are made for: of two that come at once the second waits, and then finds what
the first has recorded. REPEATABLE READ and SERIALIZABLE end the second with SQLSTATE 40001 instead: `once` runs it
again, and every other transaction is tried again by the SEC.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import lru_cache
from typing import Any, Unpack

from sagaline.barrier.async_barrier import AsyncBarrier, AsyncBegin
from sagaline.barrier.statements import CONTENDED, Dialect, Reply, Statement, percent_style
from sagaline.barrier.steps import BarrierOptions
from sagaline.barrier.sync_barrier import Barrier, Begin
from sagaline.errors import BarrierMisuse

try:
    import psycopg
    from psycopg.pq import TransactionStatus
    from psycopg.rows import tuple_row
except ImportError as error:
    raise ImportError("barriers in PostgreSQL need psycopg 3: pip install 'sagaline[postgres]'") from error

Connection = psycopg.Connection[Any]
AsyncConnection = psycopg.AsyncConnection[Any]


class PsycopgBarrier(Barrier[Connection]):
    """A barrier for `psycopg.Connection`.

    Args:
        begin: Begins your transactions and gives the connection, for `transaction()` and `once`: the `connection` of
            a psycopg pool, or `lambda: psycopg.connect(…)`.
        **options: See `BarrierOptions`.
    """

    def __init__(self, begin: Begin[Connection] | None = None, **options: Unpack[BarrierOptions]) -> None:
        super().__init__(_Psycopg(), begin, **options)


class AsyncPsycopgBarrier(AsyncBarrier[AsyncConnection]):
    """A barrier for `psycopg.AsyncConnection`.

    Args:
        begin: Begins your transactions and gives the connection, for `transaction()` and `once`: the `connection` of
            an async psycopg pool.
        **options: See `BarrierOptions`.
    """

    def __init__(self, begin: AsyncBegin[AsyncConnection] | None = None, **options: Unpack[BarrierOptions]) -> None:
        super().__init__(_AsyncPsycopg(), begin, **options)


class _Common:
    dialect = Dialect.POSTGRESQL

    def subject(self, begun: object) -> object:
        """`connection.transaction()` gives a Transaction."""
        return begun.connection if isinstance(begun, psycopg.Transaction | psycopg.AsyncTransaction) else begun

    def contended(self, error: BaseException) -> bool:
        """See `Driver`."""
        return isinstance(error, psycopg.Error) and error.sqlstate in CONTENDED


class _Psycopg(_Common):
    def check(self, tx: Connection) -> None:
        """See `Driver`."""
        _check(tx.info.transaction_status, autocommit=tx.autocommit)

    def execute(self, tx: Connection, statement: Statement) -> Reply:
        """Run a statement, whatever rows and placeholders look like on this connection."""
        with psycopg.Cursor(tx, row_factory=tuple_row) as cursor:
            cursor.execute(_percent_style(statement.sql), _parameters(statement))
            return Reply(cursor.rowcount, cursor.fetchone() if statement.reads else None)

    def savepoint(self, tx: Connection) -> AbstractContextManager[object]:
        """See `Driver`."""
        return tx.transaction()


class _AsyncPsycopg(_Common):
    async def check(self, tx: AsyncConnection) -> None:
        """See `Driver`."""
        _check(tx.info.transaction_status, autocommit=tx.autocommit)

    async def execute(self, tx: AsyncConnection, statement: Statement) -> Reply:
        """Run a statement, whatever rows and placeholders look like on this connection."""
        async with psycopg.AsyncCursor(tx, row_factory=tuple_row) as cursor:
            await cursor.execute(_percent_style(statement.sql), _parameters(statement))
            return Reply(cursor.rowcount, await cursor.fetchone() if statement.reads else None)

    def savepoint(self, tx: AsyncConnection) -> AbstractAsyncContextManager[object]:
        """See `Driver`."""
        return tx.transaction()


def _check(status: TransactionStatus, *, autocommit: bool) -> None:
    if status == TransactionStatus.IDLE and autocommit:
        raise BarrierMisuse(
            "no transaction is open on this connection, which is in autocommit mode: begin one, "
            "`with connection.transaction():`"
        )
    if status == TransactionStatus.INERROR:
        raise BarrierMisuse("the transaction has failed already: the barrier comes first in it")


@lru_cache(maxsize=256)
def _percent_style(sql: str) -> bytes:
    return percent_style(sql).encode()


def _parameters(statement: Statement) -> Mapping[str, Any] | None:
    return statement.parameters or None  # without any, psycopg takes the text as it is
