"""`barrier.once`: functions that run in a transaction, once in effect, and are actions like any other."""

from __future__ import annotations

import inspect
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import aiosqlite
import pytest

from sagaline import Action, Context, Failed, action
from sagaline.barrier import AsyncSqliteBarrier, SqliteBarrier
from sagaline.errors import BarrierMisuse, Suppressed
from tests.unit.barrier.contexts import action_context, undo_context


@dataclass(frozen=True)
class Ticket:
    seat: int


class Hall:
    """A barrier, and an action with its undo action behind it."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("CREATE TABLE seats (seat INTEGER)")
        self.barrier = SqliteBarrier(self.begin)
        self.barrier.create_table(self.db)
        self.undone: list[Ticket | None] = []
        self.book = self.actions()

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:
            yield self.db

    def actions(self) -> Action[tuple[str, int], Ticket]:
        @action("hall.book")
        @self.barrier.once
        def book(db: sqlite3.Connection, context: Context, row: str, seat: int = 1) -> Ticket:
            """Take a seat."""
            if seat > 9:
                raise Failed("NoSuchSeat", row)
            db.execute("INSERT INTO seats VALUES (?)", (seat,))
            return Ticket(seat)

        @book.undo
        @self.barrier.once
        def cancel(db: sqlite3.Connection, context: Context, row: str, *, output: Ticket | None) -> None:
            self.undone.append(output)
            db.execute("DELETE FROM seats")

        return book

    def seats(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM seats").fetchone()[0])


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.db.close()


def test_the_action_looks_as_if_it_took_no_connection(hall: Hall) -> None:
    assert hall.book.input_types == {"row": str, "seat": int}
    assert hall.book.output_type is Ticket
    assert hall.book.forward.optional == {"seat"}
    assert hall.book.backward is not None
    assert hall.book.backward.takes_output
    assert hall.book.__doc__ == "Take a seat."
    assert list(inspect.signature(hall.book.forward.function).parameters) == ["context", "row", "seat"]


def test_g11_it_runs_once_and_undo_wins(hall: Hall) -> None:
    assert hall.book.backward is not None
    arguments = {"row": "A", "seat": 4}
    assert hall.book.forward.call(action_context(1), arguments) == Ticket(4)
    assert hall.book.forward.call(action_context(2), arguments) == Ticket(4)
    assert hall.seats() == 1
    for token in (3, 4):
        hall.book.backward.call(undo_context(token), {"row": "A", "output": None})
    assert hall.undone == [Ticket(4)], "it gets the recorded output, whatever the SEC knows of it"
    with pytest.raises(Suppressed):
        hall.book.forward.call(action_context(2), arguments)
    assert hall.seats() == 0


def test_a_failure_is_recorded(hall: Hall) -> None:
    for seat in (10, 4):
        with pytest.raises(Failed, match="NoSuchSeat"):
            hall.book.forward.call(action_context(), {"row": "A", "seat": seat})
    assert hall.seats() == 0


def test_defaults_are_those_of_the_function(hall: Hall) -> None:
    assert hall.book.forward.call(action_context(), {"row": "A"}) == Ticket(1)


def test_an_undo_need_not_take_the_output(hall: Hall) -> None:
    calls: list[str] = []

    @hall.barrier.once
    def cancel(db: sqlite3.Connection, context: Context, row: str) -> None:
        calls.append(row)

    hall.book.forward.call(action_context(), {"row": "A"})
    cancel(undo_context(), "A")
    cancel(undo_context(), row="A")
    assert calls == ["A"]


async def test_coroutines(tmp_path: Any) -> None:
    @asynccontextmanager
    async def begin() -> AsyncIterator[aiosqlite.Connection]:
        async with aiosqlite.connect(tmp_path / "hall.db", isolation_level=None) as db:
            await db.execute("BEGIN IMMEDIATE")
            yield db
            await db.commit()

    barrier = AsyncSqliteBarrier(begin)
    undone: list[Ticket | None] = []

    @action("hall.book")
    @barrier.once
    async def book(db: aiosqlite.Connection, context: Context, row: str) -> Ticket:
        await db.execute("INSERT INTO seats VALUES (4)")
        if row == "Z":
            raise Failed("NoSuchRow")
        return Ticket(4)

    @book.undo
    @barrier.once
    async def cancel(db: aiosqlite.Connection, context: Context, *, output: Ticket | None) -> None:
        undone.append(output)
        await db.execute("DELETE FROM seats")

    async with begin() as db:
        await barrier.create_table(db)
        await db.execute("CREATE TABLE seats (seat INTEGER)")
    assert book.forward.is_async
    for token in (1, 2):
        assert await book.forward.call(action_context(token), {"row": "A"}) == Ticket(4)
    for token in (3, 4):
        await cancel(undo_context(token), output=None)
    assert undone == [Ticket(4)]
    with pytest.raises(Suppressed):
        await book.forward.call(action_context(2), {"row": "A"})
    with pytest.raises(Failed, match="NoSuchRow"):
        await book.forward.call(action_context(1, saga="saga-2"), {"row": "Z"})
    async with begin() as db, db.execute("SELECT count(*) FROM seats") as found:
        assert await found.fetchone() == (0,)


def plain(context: Context, row: str) -> Ticket:
    return Ticket(1)


def untold(db: sqlite3.Connection, context: object, row: str) -> Ticket:
    return Ticket(1)


async def coroutine(db: sqlite3.Connection, context: Context) -> Ticket:
    return Ticket(1)


def unresolved(db: sqlite3.Connection, context: Nowhere) -> Ticket:  # type: ignore[name-defined]  # noqa: F821
    return Ticket(1)


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (plain, r"plain: .* takes the connection first and its context second"),
        (untold, r"untold: .* takes the connection first and its context second"),
        (lambda: None, r"takes the connection first"),
        (coroutine, r"coroutine: this is a barrier for `def`; use an async one"),
        (unresolved, r"unresolved: an annotation cannot be resolved"),
    ],
)
def test_what_it_cannot_decorate(function: Any, problem: str) -> None:
    with pytest.raises(BarrierMisuse, match=problem):
        SqliteBarrier().once(function)


def test_an_async_barrier_is_for_coroutines() -> None:
    with pytest.raises(BarrierMisuse, match="this is an async barrier for `async def`; use a barrier without"):
        AsyncSqliteBarrier().once(untold)  # type: ignore[arg-type]
