"""What checkers make of actions behind a barrier, and what they refuse there."""

from __future__ import annotations

import sqlite3
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import assert_type

import aiosqlite
from cases.shared import Card, Receipt
from sqlalchemy import Connection, create_engine
from sqlalchemy.orm import Session, sessionmaker

from sagaline import Action, Context, action
from sagaline.barrier import AsyncSqliteBarrier, SqlAlchemyBarrier, SqliteBarrier, Undone


def begin() -> AbstractContextManager[sqlite3.Connection]:
    raise NotImplementedError


def begin_async() -> AbstractAsyncContextManager[aiosqlite.Connection]:
    raise NotImplementedError


barrier = SqliteBarrier(begin)
async_barrier = AsyncSqliteBarrier(begin_async)


@action("payments.charge")
@barrier.once
def charge(db: sqlite3.Connection, context: Context, card: Card, cents: int = 1) -> Receipt:
    return Receipt(card.number, cents)


@action("payments.charge_async")
@async_barrier.once
async def charge_async(db: aiosqlite.Connection, context: Context, card: Card) -> Receipt:
    return Receipt(card.number, 1)


assert_type(charge, Action[tuple[Card, int], Receipt])
assert_type(charge_async, Action[tuple[Card], Receipt])


@charge.undo
@barrier.once
def refund(db: sqlite3.Connection, context: Context, card: Card, *, output: Receipt | None) -> None: ...


@charge.undo
@barrier.once
def without_inputs(db: sqlite3.Connection, context: Context) -> None: ...


@charge_async.undo
@async_barrier.once
async def refund_async(db: aiosqlite.Connection, context: Context, *, output: Receipt | None) -> None: ...


@charge.undo  # E: arg-type|reportCallIssue|reportArgumentType
@barrier.once
def of_another_output(db: sqlite3.Connection, context: Context, *, output: Card | None) -> None: ...


@barrier.once  # E: incompatible type|reportArgumentType
def of_another_connection(db: aiosqlite.Connection, context: Context) -> None: ...


@barrier.once  # E: incompatible type|reportArgumentType
def without_context(db: sqlite3.Connection, card: Card) -> None: ...


@async_barrier.once  # E: incompatible type|reportArgumentType
def without_await(db: aiosqlite.Connection, context: Context) -> int:
    return 1


def by_hand(context: Context, undo_context: Context) -> None:
    def take(db: sqlite3.Connection) -> Receipt:
        return Receipt("", 0)

    def give(db: sqlite3.Connection, receipt: Receipt) -> None: ...

    with barrier.transaction() as db:
        assert_type(db, sqlite3.Connection)
        assert_type(barrier.action(db, context, take, returns=Receipt), Receipt)
        assert_type(barrier.undo(db, undo_context, give, returns=Receipt), Undone)


async def by_hand_async(context: Context) -> None:
    async def take(db: aiosqlite.Connection) -> Receipt:
        return Receipt("", 0)

    async with async_barrier.transaction() as db:
        assert_type(db, aiosqlite.Connection)
        assert_type(await async_barrier.action(db, context, take, returns=Receipt), Receipt)


engine = create_engine("sqlite://")
assert_type(SqlAlchemyBarrier(engine), SqlAlchemyBarrier[Connection])
assert_type(SqlAlchemyBarrier(engine, sessionmaker(engine).begin), SqlAlchemyBarrier[Session])
