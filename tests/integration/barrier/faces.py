"""Every library that barriers know, behind one face, so that one suite can ask all of them for the same."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import aiosqlite
import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.orm import sessionmaker

from sagaline import Context
from sagaline.barrier import (
    AsyncBarrier,
    AsyncPsycopgBarrier,
    AsyncSqlAlchemyBarrier,
    AsyncSqliteBarrier,
    Barrier,
    PsycopgBarrier,
    SqlAlchemyBarrier,
    SqliteBarrier,
    Undone,
)

SEATS = "CREATE TABLE seats (seat INTEGER)"
COUNT = "SELECT count(*) FROM seats"

Execute = Callable[[str], Any]
"""Runs a statement in the transaction; to be awaited where the library is."""


@dataclass(frozen=True)
class Ticket:
    seat: int


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def move(self, by: timedelta) -> None:
        self.at += by


class Face(Protocol):
    """A barrier before a table of seats."""

    clock: Clock
    barrier: Any

    async def create(self) -> None:
        """Make the tables."""
        ...

    async def book(self, context: Context, then: BaseException | None = None) -> Ticket:
        """Take a seat as an action; then raise, if there is something to raise."""
        ...

    async def cancel(self, context: Context, then: BaseException | None = None) -> Undone:
        """Give the seat back as an undo action."""
        ...

    async def once(self, context: Context, note: Callable[[str], str], text: str) -> None:
        """Note a statement and run it, in a decorated function."""
        ...

    async def seats(self) -> int:
        """Return how many are taken."""
        ...

    async def expire(self, **options: Any) -> int:
        """As the barrier's."""
        ...

    async def saga_ended(self, saga: str) -> None:
        """As the barrier's."""
        ...


class SyncFace:
    """Of a library without `await`."""

    def __init__(self, barrier: Barrier[Any], execute: Callable[[Any, str], Any], clock: Clock) -> None:
        self.barrier = barrier
        self.clock = clock
        self._execute = execute

    async def create(self) -> None:
        with self.barrier.transaction() as tx:
            self.barrier.create_table(tx)
            self.barrier.create_table(tx)
            self._execute(tx, SEATS)

    async def book(self, context: Context, then: BaseException | None = None) -> Ticket:
        def change(tx: Any) -> Ticket:
            self._execute(tx, "INSERT INTO seats VALUES (4)")
            if then is not None:
                raise then
            return Ticket(4)

        with self.barrier.transaction() as tx:
            return self.barrier.action(tx, context, change, returns=Ticket)

    async def cancel(self, context: Context, then: BaseException | None = None) -> Undone:
        def change(tx: Any, output: Ticket) -> None:
            self._execute(tx, f"DELETE FROM seats WHERE seat = {output.seat}")
            if then is not None:
                raise then

        with self.barrier.transaction() as tx:
            return self.barrier.undo(tx, context, change, returns=Ticket)

    async def once(self, context: Context, note: Callable[[str], str], text: str) -> None:
        @self.barrier.once
        def execute(tx: Any, context: Context) -> None:
            self._execute(tx, note(text))

        execute(context)

    async def seats(self) -> int:
        with self.barrier.transaction() as tx:
            return int(self._execute(tx, COUNT).fetchone()[0])

    async def expire(self, **options: Any) -> int:
        with self.barrier.transaction() as tx:
            return self.barrier.expire(tx, **options)

    async def saga_ended(self, saga: str) -> None:
        with self.barrier.transaction() as tx:
            self.barrier.saga_ended(tx, saga)


class AsyncFace:
    """Of a library with `await`."""

    def __init__(self, barrier: AsyncBarrier[Any], execute: Callable[[Any, str], Awaitable[Any]], clock: Clock) -> None:
        self.barrier = barrier
        self.clock = clock
        self._execute = execute

    async def create(self) -> None:
        async with self.barrier.transaction() as tx:
            await self.barrier.create_table(tx)
            await self.barrier.create_table(tx)
            await self._execute(tx, SEATS)

    async def book(self, context: Context, then: BaseException | None = None) -> Ticket:
        async def change(tx: Any) -> Ticket:
            await self._execute(tx, "INSERT INTO seats VALUES (4)")
            if then is not None:
                raise then
            return Ticket(4)

        async with self.barrier.transaction() as tx:
            return await self.barrier.action(tx, context, change, returns=Ticket)

    async def cancel(self, context: Context, then: BaseException | None = None) -> Undone:
        async def change(tx: Any, output: Ticket) -> None:
            await self._execute(tx, f"DELETE FROM seats WHERE seat = {output.seat}")
            if then is not None:
                raise then

        async with self.barrier.transaction() as tx:
            return await self.barrier.undo(tx, context, change, returns=Ticket)

    async def once(self, context: Context, note: Callable[[str], str], text: str) -> None:
        @self.barrier.once
        async def execute(tx: Any, context: Context) -> None:
            await self._execute(tx, note(text))

        await execute(context)

    async def seats(self) -> int:
        async with self.barrier.transaction() as tx:
            found = await self._execute(tx, COUNT)
            row = found.fetchone()
            return int((row if isinstance(row, tuple | sa.Row) else await row)[0])

    async def expire(self, **options: Any) -> int:
        async with self.barrier.transaction() as tx:
            return await self.barrier.expire(tx, **options)

    async def saga_ended(self, saga: str) -> None:
        async with self.barrier.transaction() as tx:
            await self.barrier.saga_ended(tx, saga)


# ---- the libraries

Make = Callable[[AsyncExitStack, str], Face]
"""Makes a face of a path or URL, and leaves on the stack what has to be closed."""


def sqlite3_face(_stack: AsyncExitStack, path: str) -> Face:
    @contextmanager
    def begin() -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(path, isolation_level=None)
        try:
            db.execute("BEGIN IMMEDIATE")
            with db:
                yield db
        finally:
            db.close()

    clock = Clock()
    return SyncFace(SqliteBarrier(begin, now=clock), lambda db, text: db.execute(text), clock)


def aiosqlite_face(_stack: AsyncExitStack, path: str) -> Face:
    @asynccontextmanager
    async def begin() -> AsyncIterator[aiosqlite.Connection]:
        async with aiosqlite.connect(path, isolation_level=None) as db:
            await db.execute("BEGIN IMMEDIATE")
            yield db
            await db.commit()

    clock = Clock()
    return AsyncFace(AsyncSqliteBarrier(begin, now=clock), lambda db, text: db.execute(text), clock)


def psycopg_face(_stack: AsyncExitStack, url: str) -> Face:
    clock = Clock()
    barrier = PsycopgBarrier(lambda: psycopg.connect(url), now=clock)
    return SyncFace(barrier, lambda db, text: db.execute(text), clock)


def async_psycopg_face(_stack: AsyncExitStack, url: str) -> Face:
    @asynccontextmanager
    async def begin() -> AsyncIterator[psycopg.AsyncConnection[Any]]:
        async with await psycopg.AsyncConnection.connect(url) as db:
            yield db

    clock = Clock()
    return AsyncFace(AsyncPsycopgBarrier(begin, now=clock), lambda db, text: db.execute(text), clock)


def sqlalchemy_face(stack: AsyncExitStack, url: str, *, sessions: bool) -> Face:
    engine = sa.create_engine(url)
    stack.callback(engine.dispose)
    clock = Clock()
    barrier: Barrier[Any] = (
        SqlAlchemyBarrier(engine, sessionmaker(engine).begin, now=clock)
        if sessions
        else SqlAlchemyBarrier(engine, now=clock)
    )
    return SyncFace(barrier, lambda tx, text: tx.execute(sa.text(text)), clock)


def async_sqlalchemy_face(stack: AsyncExitStack, url: str, *, sessions: bool) -> Face:
    engine = create_async_engine(url)
    stack.push_async_callback(engine.dispose)
    clock = Clock()
    barrier: AsyncBarrier[Any] = (
        AsyncSqlAlchemyBarrier(engine, async_sessionmaker(engine, class_=AsyncSession).begin, now=clock)
        if sessions
        else AsyncSqlAlchemyBarrier(engine, now=clock)
    )
    return AsyncFace(barrier, lambda tx, text: tx.execute(sa.text(text)), clock)


SQLITE: dict[str, Make] = {
    "sqlite3": sqlite3_face,
    "aiosqlite": aiosqlite_face,
    "sqlalchemy connection": lambda stack, path: sqlalchemy_face(stack, f"sqlite:///{path}", sessions=False),
    "sqlalchemy session": lambda stack, path: sqlalchemy_face(stack, f"sqlite:///{path}", sessions=True),
    "sqlalchemy async connection": lambda stack, path: async_sqlalchemy_face(
        stack, f"sqlite+aiosqlite:///{path}", sessions=False
    ),
    "sqlalchemy async session": lambda stack, path: async_sqlalchemy_face(
        stack, f"sqlite+aiosqlite:///{path}", sessions=True
    ),
}

POSTGRESQL: dict[str, Make] = {
    "psycopg": psycopg_face,
    "psycopg async": async_psycopg_face,
    "sqlalchemy connection": lambda stack, url: sqlalchemy_face(stack, _of_psycopg(url), sessions=False),
    "sqlalchemy session": lambda stack, url: sqlalchemy_face(stack, _of_psycopg(url), sessions=True),
    "sqlalchemy async connection": lambda stack, url: async_sqlalchemy_face(stack, _of_psycopg(url), sessions=False),
    "sqlalchemy async session": lambda stack, url: async_sqlalchemy_face(stack, _of_psycopg(url), sessions=True),
}


def _of_psycopg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg://")
