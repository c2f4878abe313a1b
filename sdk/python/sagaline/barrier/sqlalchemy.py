"""Barriers for SQLAlchemy 2, in PostgreSQL and SQLite: in the caller's own sessions or connections.

Isolation is as in `sagaline.barrier.postgres` and `sagaline.barrier.sqlite`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import lru_cache
from typing import Any, TypeVar, Unpack, overload

from sagaline.barrier.async_barrier import AsyncBarrier, AsyncBegin
from sagaline.barrier.sqlite import in_transaction_soon
from sagaline.barrier.statements import CONTENDED, Dialect, Reply, Statement, dialect_of
from sagaline.barrier.steps import BarrierOptions
from sagaline.barrier.sync_barrier import Barrier, Begin
from sagaline.errors import BarrierMisuse

try:
    from sqlalchemy import BigInteger, DateTime, Integer, LargeBinary, String, TextClause, bindparam, text
    from sqlalchemy.engine import Connection, Engine, Transaction
    from sqlalchemy.exc import DBAPIError, UnboundExecutionError
    from sqlalchemy.ext.asyncio import (
        AsyncConnection,
        AsyncEngine,
        AsyncSession,
        AsyncSessionTransaction,
        AsyncTransaction,
    )
    from sqlalchemy.orm import Session, SessionTransaction
    from sqlalchemy.types import TypeEngine
except ImportError as error:
    raise ImportError("barriers for SQLAlchemy need version 2 of it: pip install 'sagaline[sqlalchemy]'") from error

S = TypeVar("S", bound=Connection | Session)
A = TypeVar("A", bound=AsyncConnection | AsyncSession)


class SqlAlchemyBarrier(Barrier[S]):
    """A barrier for `Connection`s or `Session`s of SQLAlchemy.

    Args:
        engine: Engine of the database that the barrier's table is in. A connection or session of another one is
            refused: its changes would not be in the same transaction.
        begin: Begins your transactions, for `transaction()` and `once`: `engine.begin` if absent, which gives
            connections; the `begin` of a sessionmaker gives sessions.
        **options: See `BarrierOptions`.
    """

    @overload
    def __init__(
        self: SqlAlchemyBarrier[Connection], engine: Engine, begin: None = None, **options: Unpack[BarrierOptions]
    ) -> None: ...
    @overload
    def __init__(self, engine: Engine, begin: Begin[S], **options: Unpack[BarrierOptions]) -> None: ...
    def __init__(self, engine: Engine, begin: Any = None, **options: Unpack[BarrierOptions]) -> None:
        driver = _SqlAlchemy(engine)
        begins: Any = begin or engine.begin
        super().__init__(driver, begins, **options)


class AsyncSqlAlchemyBarrier(AsyncBarrier[A]):
    """A barrier for `AsyncConnection`s or `AsyncSession`s of SQLAlchemy.

    Args:
        engine: As that of `SqlAlchemyBarrier`.
        begin: Begins your transactions, for `transaction()` and `once`: `engine.begin` if absent, which gives
            connections; the `begin` of an async_sessionmaker gives sessions.
        **options: See `BarrierOptions`.
    """

    @overload
    def __init__(
        self: AsyncSqlAlchemyBarrier[AsyncConnection],
        engine: AsyncEngine,
        begin: None = None,
        **options: Unpack[BarrierOptions],
    ) -> None: ...
    @overload
    def __init__(self, engine: AsyncEngine, begin: AsyncBegin[A], **options: Unpack[BarrierOptions]) -> None: ...
    def __init__(self, engine: AsyncEngine, begin: Any = None, **options: Unpack[BarrierOptions]) -> None:
        driver = _AsyncSqlAlchemy(engine.sync_engine)
        begins: Any = begin or engine.begin
        super().__init__(driver, begins, **options)


class _SqlAlchemy:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.dialect = dialect_of(engine.dialect.name)

    def subject(self, begun: object) -> object:
        """`session.begin()` and `connection.begin()` give transactions."""
        if isinstance(begun, SessionTransaction | AsyncSessionTransaction):
            return begun.session
        return begun.connection if isinstance(begun, Transaction | AsyncTransaction) else begun

    def check(self, tx: Connection | Session) -> None:
        """See `Driver`."""
        if not tx.in_transaction():
            raise BarrierMisuse(f"no transaction is open on this {type(tx).__name__}: begin one, `with tx.begin():`")
        if _engine_of(tx).pool is not self._engine.pool:
            raise BarrierMisuse(
                f"this {type(tx).__name__} is of the engine {_engine_of(tx).url!r}, and the barrier's table is in "
                f"that of {self._engine.url!r}: what the action changes would not be in the barrier's transaction"
            )
        if _commits_by_itself(_connection_of(tx), self.dialect):
            raise BarrierMisuse(
                "no transaction is open: this connection is in AUTOCOMMIT, which commits every statement"
            )

    def execute(self, tx: Connection | Session, statement: Statement) -> Reply:
        """Run a statement beside the session, not through it: nothing of the session's is flushed for it."""
        done = _connection_of(tx).execute(_text_of(statement.sql, self.dialect), dict(statement.parameters))
        row = done.first() if statement.reads else None
        return Reply(done.rowcount, None if row is None else tuple(row))

    def savepoint(self, tx: Connection | Session) -> AbstractContextManager[object]:
        """Of a session, this flushes and expires what it has to."""
        return tx.begin_nested()

    def contended(self, error: BaseException) -> bool:
        """See `Driver`."""
        if not isinstance(error, DBAPIError):
            return False
        return {getattr(error.orig, "sqlstate", None), getattr(error.orig, "pgcode", None)} & CONTENDED != set()


class _AsyncSqlAlchemy:
    def __init__(self, engine: Engine) -> None:
        self._sync = _SqlAlchemy(engine)
        self.dialect = self._sync.dialect
        self.subject = self._sync.subject
        self.contended = self._sync.contended

    async def check(self, tx: AsyncConnection | AsyncSession) -> None:
        """See `AsyncDriver`."""
        await tx.run_sync(self._sync.check)

    async def execute(self, tx: AsyncConnection | AsyncSession, statement: Statement) -> Reply:
        """See `_SqlAlchemy`."""
        return await tx.run_sync(self._sync.execute, statement)

    def savepoint(self, tx: AsyncConnection | AsyncSession) -> AbstractAsyncContextManager[object]:
        """See `_SqlAlchemy`."""
        return tx.begin_nested()


def _engine_of(tx: Connection | Session) -> Engine:
    if isinstance(tx, Connection):
        return tx.engine
    try:
        return tx.get_bind().engine
    except UnboundExecutionError as error:
        raise BarrierMisuse(
            "this Session has no engine of its own, only some for each class: bind it to the barrier's engine"
        ) from error


def _connection_of(tx: Connection | Session) -> Connection:
    return tx if isinstance(tx, Connection) else tx.connection()


def _commits_by_itself(connection: Connection, dialect: Dialect) -> bool:
    raw = connection.connection
    if dialect is Dialect.SQLITE:
        return not in_transaction_soon(raw.driver_connection)  # type: ignore[arg-type]
    return getattr(raw.dbapi_connection, "autocommit", False) is True


@lru_cache(maxsize=256)
def _text_of(sql: str, dialect: Dialect) -> TextClause:
    """Give a statement's parameters types, for drivers that do not ask the database for them."""
    clause = text(sql)
    types = _TYPES[dialect]
    return clause.bindparams(*(bindparam(name, type_=types[name]) for name in clause.compile().params))


_COMMON: Mapping[str, TypeEngine[Any]] = {
    "saga_id": String(),
    "node": String(),
    "scope": String(),
    "state": String(),
    "fencing_token": BigInteger(),
    "input_digest": LargeBinary(),
    "output": LargeBinary(),
    "failure": LargeBinary(),
    "limit": Integer(),
}
_TIMES = ("at", "expires_at", "before")
_TYPES: Mapping[Dialect, Mapping[str, TypeEngine[Any]]] = {
    Dialect.SQLITE: {**_COMMON, **dict.fromkeys(_TIMES, String())},
    Dialect.POSTGRESQL: {**_COMMON, **dict.fromkeys(_TIMES, DateTime(timezone=True))},
}
