"""Every order of up to five arrivals, at a real barrier on a real database."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sagaline import Context, Failed
from sagaline.barrier import SqliteBarrier, Undone
from sagaline.errors import InputMismatch, NotRecorded, StaleToken, Suppressed
from tests.unit.barrier.contexts import action_context, undo_context
from tests.unit.barrier.orders import EVENTS, UNDO, Checker, Ending, Event, Told, Verdict

LENGTH_MAX = 5

BOOKINGS = "CREATE TABLE bookings (saga TEXT PRIMARY KEY, applied INTEGER NOT NULL, reversed INTEGER NOT NULL)"


class Crash(Exception):
    """The process is gone before its transaction commits."""


class Worker:
    """A database with a barrier and an effect that can be counted, made for one node of each of many sagas."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.barrier = SqliteBarrier(self.begin)
        self.barrier.create_table(self.db)
        self.db.execute(BOOKINGS)
        self._numbers = itertools.count(1)

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:
            yield self.db

    def new_saga(self, like: str | None = None) -> str:
        """A saga that nothing has arrived for, or one to which the same has happened as to another."""
        saga = f"saga-{next(self._numbers)}"
        if like is None:
            self.db.execute("INSERT INTO bookings VALUES (?, 0, 0)", (saga,))
            return saga
        self.db.execute(
            "INSERT INTO sagaline_barrier SELECT ?, node, scope, state, fencing_token, input_digest, output, failure,"
            " created_at, updated_at, expires_at FROM sagaline_barrier WHERE saga_id = ?",
            (saga, like),
        )
        self.db.execute("INSERT INTO bookings SELECT ?, applied, reversed FROM bookings WHERE saga = ?", (saga, like))
        return saga

    def forget(self, saga: str) -> None:
        self.db.execute("DELETE FROM sagaline_barrier WHERE saga_id = ?", (saga,))
        self.db.execute("DELETE FROM bookings WHERE saga = ?", (saga,))

    def deliver(self, saga: str, event: Event) -> Told:
        verdict, content = self._verdict(saga, event)
        applied, undone = self.db.execute("SELECT applied, reversed FROM bookings WHERE saga = ?", (saga,)).fetchone()
        return Told(verdict, content, applied, undone)

    def _verdict(self, saga: str, event: Event) -> tuple[Verdict, str]:
        try:
            if event.kind is UNDO:
                return self._undo(undo_context(event.token, saga=saga, succeeded=event.action_succeeded), event)
            return Verdict.SUCCEEDED, self._action(action_context(event.token, saga=saga), event)
        except Crash:
            return Verdict.NOTHING, ""
        except Suppressed:
            return Verdict.SUPPRESSED, ""
        except Failed as failed:
            return Verdict.FAILED, failed.message
        except StaleToken:
            return Verdict.STALE, ""
        except InputMismatch:
            return Verdict.MISMATCH, ""
        except NotRecorded:
            return Verdict.NOT_RECORDED, ""

    def _action(self, context: Context, event: Event) -> str:
        def book(db: sqlite3.Connection) -> str:
            db.execute("UPDATE bookings SET applied = applied + 1 WHERE saga = ?", (context.saga_id,))
            if event.ending is Ending.FAILED:
                raise Failed("SoldOut", event.name)
            return event.name

        with self.barrier.transaction() as db:
            answer = self.barrier.action(db, context, book, returns=str)
            if event.ending is Ending.CRASH:
                raise Crash
            return answer

    def _undo(self, context: Context, event: Event) -> tuple[Verdict, str]:
        def cancel(db: sqlite3.Connection, output: str) -> None:
            assert output.startswith("action"), "an undo gets what its action answered"
            db.execute("UPDATE bookings SET reversed = reversed + 1 WHERE saga = ?", (context.saga_id,))

        with self.barrier.transaction() as db:
            how = self.barrier.undo(db, context, cancel, returns=str)
            assert how in Undone
            if event.ending is Ending.CRASH:
                raise Crash
            return Verdict.UNDONE, ""


@pytest.fixture
def worker() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.db.close()


def walk(worker: Worker, saga: str, checker: Checker, length: int, path: tuple[str, ...] = ()) -> int:
    """Deliver every sequence of up to so many more events, checking each answer; returns how many were delivered."""
    delivered = 0
    for event in EVENTS:
        branch = worker.new_saga(like=saga)
        told = worker.deliver(branch, event)
        trace = (*path, event.name)
        try:
            checked = checker.after(event, told)
        except AssertionError as error:
            raise AssertionError(f"{' · '.join(trace)}: {told}: {error}") from None
        delivered += 1
        if len(trace) < length:
            delivered += walk(worker, branch, checked, length, trace)
        worker.forget(branch)
    return delivered


@pytest.mark.slow
def test_g11_every_order_of_arrivals(worker: Worker) -> None:
    """Whatever arrives, in whatever order: one effect at most, one answer, and undo wins."""
    delivered = walk(worker, worker.new_saga(), Checker(), LENGTH_MAX)
    assert delivered == sum(len(EVENTS) ** length for length in range(1, LENGTH_MAX + 1))


def test_repeating_everything_changes_nothing(worker: Worker) -> None:
    """As every order, with each arrival delivered twice: also the second time after a crash."""
    for events in itertools.permutations(EVENTS, 3):
        saga, checker = worker.new_saga(), Checker()
        for event in (each for pair in zip(events, events, strict=True) for each in pair):
            checker = checker.after(event, worker.deliver(saga, event))
