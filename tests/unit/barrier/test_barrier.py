"""What a barrier promises to an action and to its undo action, in SQLite."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sagaline import Failed, Hold, Retry
from sagaline.barrier import SqliteBarrier, Undone
from sagaline.errors import (
    ActionOutcome,
    BarrierMisuse,
    ConversionError,
    InputMismatch,
    NotRecorded,
    StaleToken,
    Suppressed,
)
from sagaline.v1 import failure_pb2
from sagaline.worker.outcomes import of_error
from tests.unit.barrier.contexts import action_context, undo_context

START = datetime(2026, 3, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Ticket:
    seat: int


class Hall:
    """A database with seats, and a barrier before them."""

    def __init__(self, horizon: timedelta = timedelta(days=30), saga_lifetime: timedelta | None = None) -> None:
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.db.execute("CREATE TABLE seats (seat INTEGER)")
        self.now = START
        self.barrier = SqliteBarrier(self.begin, now=lambda: self.now, horizon=horizon, saga_lifetime=saga_lifetime)
        self.barrier.create_table(self.db)

    @contextmanager
    def begin(self) -> Iterator[sqlite3.Connection]:
        self.db.execute("BEGIN IMMEDIATE")
        with self.db:
            yield self.db

    @property
    def seats(self) -> int:
        return int(self.db.execute("SELECT count(*) FROM seats").fetchone()[0])

    def column(self, name: str) -> Any:
        found = self.db.execute(f"SELECT {name} FROM sagaline_barrier").fetchone()
        return None if found is None else found[0]

    def book(self, token: int = 1, change: Callable[[sqlite3.Connection], Ticket] | None = None, **of: Any) -> Ticket:
        with self.barrier.transaction() as db:
            return self.barrier.action(db, action_context(token, **of), change or self.take_seat, returns=Ticket)

    def take_seat(self, db: sqlite3.Connection) -> Ticket:
        db.execute("INSERT INTO seats VALUES (4)")
        return Ticket(4)

    def cancel(
        self, token: int = 100, change: Callable[[sqlite3.Connection, Ticket], None] | None = None, **of: Any
    ) -> Undone:
        with self.barrier.transaction() as db:
            return self.barrier.undo(db, undo_context(token, **of), change or self.give_seat, returns=Ticket)

    def give_seat(self, db: sqlite3.Connection, ticket: Ticket) -> None:
        db.execute("DELETE FROM seats WHERE seat = ?", (ticket.seat,))


@pytest.fixture
def hall() -> Iterator[Hall]:
    made = Hall()
    yield made
    made.db.close()


def must_not_run(*_: object) -> Any:
    pytest.fail("user code ran that must not")


def failing(error: BaseException) -> Callable[..., Any]:
    def change(db: sqlite3.Connection, _output: object = None) -> Any:
        db.execute("INSERT INTO seats VALUES (9)")
        raise error

    return change


def disposition(error: ActionOutcome) -> int:
    return of_error(error, action_context(), stack_trace=False).disposition


# ---- action


def test_an_action_runs_once_and_is_answered_alike_for_ever(hall: Hall) -> None:
    assert hall.book() == Ticket(4)
    assert hall.book(2, must_not_run) == Ticket(4)
    assert hall.seats == 1
    assert hall.column("state") == "DONE"


def test_a_failure_leaves_no_effect_and_is_remembered(hall: Hall) -> None:
    first = Failed("SoldOut", "no seat", details=[{"left": 0}])
    with pytest.raises(Failed) as told:
        hall.book(change=failing(first))
    assert told.value is first
    with pytest.raises(Failed) as told:
        hall.book(2, must_not_run)
    assert (told.value.type, told.value.message, told.value.details) == ("SoldOut", "no seat", ({"left": 0},))
    assert hall.seats == 0
    assert hall.column("state") == "FAILED"
    assert hall.column("fencing_token") == 2


@pytest.mark.parametrize("error", [Retry("Busy"), Hold("Odd"), ZeroDivisionError(), KeyboardInterrupt()])
def test_everything_else_leaves_no_record(hall: Hall, error: BaseException) -> None:
    with pytest.raises(type(error)):
        hall.book(change=failing(error))
    assert hall.seats == 0
    assert hall.column("state") is None
    assert hall.book() == Ticket(4)


def test_an_output_that_does_not_fit_rolls_back(hall: Hall) -> None:
    with pytest.raises(ConversionError):
        hall.book(change=lambda _db: "no ticket")  # type: ignore[arg-type, return-value]
    assert hall.column("state") is None


@pytest.mark.parametrize("error", [ZeroDivisionError(), Failed("Later")], ids=repr)
def test_what_is_rolled_back_was_not_there(hall: Hall, error: Exception) -> None:
    """Only the failure that was recorded commits the transaction that it leaves."""

    def book_and_raise() -> None:
        with hall.barrier.transaction() as db:
            hall.barrier.action(db, action_context(), hall.take_seat, returns=Ticket)
            raise error

    with pytest.raises(type(error)):
        book_and_raise()
    assert hall.seats == 0
    assert hall.column("state") is None


# ---- undo


def test_an_undo_reverses_what_was_done_once(hall: Hall) -> None:
    hall.book()
    assert hall.cancel() is Undone.NOW
    assert hall.cancel(101, must_not_run) is Undone.BEFORE
    assert hall.seats == 0
    assert hall.column("state") == "UNDONE"


def test_an_undo_gets_the_output_that_the_sec_never_heard_of(hall: Hall) -> None:
    hall.book()
    seen: list[Ticket] = []
    hall.cancel(change=lambda _db, ticket: seen.append(ticket), succeeded=False)
    assert seen == [Ticket(4)]


def test_an_undo_without_a_type_gets_json(hall: Hall) -> None:
    hall.book()
    seen: list[object] = []
    with hall.barrier.transaction() as db:
        hall.barrier.undo(db, undo_context(), lambda _db, output: seen.append(output))
    assert seen == [{"seat": 4}]


def test_an_undo_that_comes_first_keeps_the_action_from_running(hall: Hall) -> None:
    assert hall.cancel(change=must_not_run) is Undone.NOTHING
    for token in (1, 200):
        with pytest.raises(Suppressed):
            hall.book(token, must_not_run)
    assert hall.cancel(101, must_not_run) is Undone.BEFORE


def test_an_undo_of_a_failed_action_has_nothing_to_do(hall: Hall) -> None:
    with pytest.raises(Failed):
        hall.book(change=failing(Failed("SoldOut")))
    assert hall.cancel(change=must_not_run) is Undone.NOTHING
    assert hall.column("state") == "CANCELLED"
    with pytest.raises(Suppressed):
        hall.book(1, must_not_run)


@pytest.mark.parametrize("error", [Failed("Locked"), Retry("Busy"), ZeroDivisionError()])
def test_an_undo_that_fails_leaves_everything_as_it_was(hall: Hall, error: Exception) -> None:
    """Also where it says that it can never succeed: an operator may have it tried again."""
    hall.book()
    with pytest.raises(type(error)):
        hall.cancel(change=failing(error))
    assert hall.seats == 1
    assert hall.column("state") == "DONE"
    assert hall.cancel(101) is Undone.NOW


# ---- refusals


def test_a_late_action_counts_as_failed(hall: Hall) -> None:
    """Nothing of the node stands or ever will, which is what a failure without effect means."""
    hall.book()
    hall.cancel()
    with pytest.raises(Suppressed) as told:
        hall.book(1, must_not_run)
    assert disposition(told.value) == failure_pb2.FAILURE_DISPOSITION_FAIL
    assert str(told.value) == (
        "sagaline.Suppressed: node seat of saga saga-1 was undone before this attempt of its action arrived"
    )


def test_a_lower_token_is_refused(hall: Hall) -> None:
    hall.book(5)
    hall.book(7, must_not_run)
    for refused in (lambda: hall.book(6, must_not_run), lambda: hall.cancel(6, must_not_run)):
        with pytest.raises(StaleToken) as told:
            refused()
        assert disposition(told.value) == failure_pb2.FAILURE_DISPOSITION_RETRY
    assert hall.column("fencing_token") == 7
    assert hall.cancel(8) is Undone.NOW
    assert hall.column("fencing_token") == 8


def test_other_inputs_are_refused(hall: Hall) -> None:
    hall.book(inputs={"flight": "LH 1"})
    for refused in (
        lambda: hall.book(2, must_not_run, inputs={"flight": "LH 2"}),
        lambda: hall.cancel(3, must_not_run, inputs={}),
    ):
        with pytest.raises(InputMismatch) as told:
            refused()
        assert disposition(told.value) == failure_pb2.FAILURE_DISPOSITION_HOLD
    assert hall.cancel(inputs={"flight": "LH 1"}) is Undone.NOW


def test_an_undo_without_the_record_of_a_success_is_refused(hall: Hall) -> None:
    with pytest.raises(NotRecorded) as told:
        hall.cancel(change=must_not_run, succeeded=True)
    assert disposition(told.value) == failure_pb2.FAILURE_DISPOSITION_HOLD
    assert hall.column("state") is None


def test_an_undo_of_a_known_success(hall: Hall) -> None:
    hall.book()
    assert hall.cancel(succeeded=True) is Undone.NOW
    assert hall.cancel(101, must_not_run, succeeded=True) is Undone.BEFORE


def test_nodes_sagas_and_scopes_have_rows_of_their_own(hall: Hall) -> None:
    other = SqliteBarrier(hall.begin, scope="other")
    hall.book()
    hall.book(node="meal")
    hall.book(saga="saga-2")
    with other.transaction() as db:
        other.action(db, action_context(), hall.take_seat, returns=Ticket)
    assert hall.seats == 4


# ---- how long rows stand


def test_rows_go_when_their_time_has_passed() -> None:
    hall = Hall(horizon=timedelta(days=2))
    hall.cancel()
    hall.now += timedelta(days=2)
    assert hall.barrier.expire(hall.db) == 0
    hall.now += timedelta(seconds=1)
    assert hall.barrier.expire(hall.db, START) == 0
    assert hall.barrier.expire(hall.db) == 1
    assert hall.column("state") is None


def test_the_time_of_a_row_starts_when_it_changes() -> None:
    hall = Hall(horizon=timedelta(days=2))
    with pytest.raises(Failed):
        hall.book(change=failing(Failed("SoldOut")))
    hall.now += timedelta(days=1)
    hall.cancel()
    hall.now += timedelta(days=2)
    assert hall.barrier.expire(hall.db) == 0


def test_a_done_action_is_remembered_until_its_saga_has_ended() -> None:
    """It may have to be undone after a year: only whoever knows that the saga has ended can say that it won't."""
    hall = Hall(horizon=timedelta(days=2))
    hall.book()
    hall.now += timedelta(days=365)
    assert hall.barrier.expire(hall.db) == 0
    hall.barrier.saga_ended(hall.db, "saga-1")
    assert hall.barrier.expire(hall.db) == 0
    hall.now += timedelta(days=3)
    assert hall.barrier.expire(hall.db) == 1


def test_a_repetition_after_the_end_does_not_keep_the_row() -> None:
    hall = Hall(horizon=timedelta(days=2))
    hall.book()
    hall.barrier.saga_ended(hall.db, "saga-1")
    hall.book(2, must_not_run)
    hall.now += timedelta(days=3)
    assert hall.barrier.expire(hall.db) == 1


def test_a_done_action_is_remembered_for_a_sagas_lifetime() -> None:
    hall = Hall(horizon=timedelta(days=2), saga_lifetime=timedelta(days=7))
    hall.book()
    hall.now += timedelta(days=9)
    assert hall.barrier.expire(hall.db) == 0
    hall.now += timedelta(seconds=1)
    assert hall.barrier.expire(hall.db) == 1


def test_no_more_rows_go_at_once_than_asked_for(hall: Hall) -> None:
    for number in range(5):
        hall.cancel(saga=f"saga-{number}")
        hall.now += timedelta(minutes=1)
    hall.now += timedelta(days=31)
    assert [hall.barrier.expire(hall.db, limit=2) for _ in range(4)] == [2, 2, 1, 0]


def test_expire_takes_no_time_to_come(hall: Hall) -> None:
    with pytest.raises(BarrierMisuse, match="lies in the future"):
        hall.barrier.expire(hall.db, START + timedelta(seconds=1))
    with pytest.raises(BarrierMisuse, match="needs a time zone"):
        hall.barrier.expire(hall.db, datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_barrier_remembers_for_some_time() -> None:
    for options in ({"horizon": timedelta(0)}, {"saga_lifetime": timedelta(0)}):
        with pytest.raises(BarrierMisuse, match="are positive"):
            SqliteBarrier(**options)  # type: ignore[arg-type]


# ---- transactions


def test_without_a_transaction_of_the_barrier_nothing_runs(hall: Hall) -> None:
    """A failure recorded in any other transaction would be rolled back by the exception that tells it."""
    with hall.begin() as db, pytest.raises(BarrierMisuse, match="not begun by"):
        hall.barrier.action(db, action_context(), must_not_run, returns=Ticket)
    with hall.begin() as db, pytest.raises(BarrierMisuse, match="not begun by"):
        hall.barrier.undo(db, undo_context(), must_not_run)
    other = SqliteBarrier(hall.begin)
    with other.transaction() as db, pytest.raises(BarrierMisuse, match="not begun by"):
        hall.barrier.action(db, action_context(), must_not_run, returns=Ticket)


def test_transactions_do_not_nest(hall: Hall) -> None:
    @contextmanager
    def same() -> Iterator[sqlite3.Connection]:
        yield hall.db

    with hall.barrier.transaction() as db:
        with pytest.raises(BarrierMisuse, match="don't nest"), hall.barrier.transaction(same):
            pytest.fail("it nested")
        assert hall.barrier.action(db, action_context(), hall.take_seat, returns=Ticket) == Ticket(4)


def test_a_transaction_needs_something_that_begins_it() -> None:
    with pytest.raises(BarrierMisuse, match="`begin`"), SqliteBarrier().transaction():
        pytest.fail("it began")


def test_a_connection_that_commits_every_statement_is_refused(hall: Hall) -> None:
    with pytest.raises(BarrierMisuse, match="BEGIN IMMEDIATE"), hall.barrier.transaction(lambda: hall.db) as db:
        hall.barrier.action(db, action_context(), must_not_run, returns=Ticket)
    assert hall.column("state") is None


def test_a_connection_that_begins_by_itself_will_do(hall: Hall) -> None:
    hall.db.isolation_level = "DEFERRED"
    with hall.barrier.transaction(lambda: hall.db) as db:
        assert hall.barrier.action(db, action_context(), hall.take_seat, returns=Ticket) == Ticket(4)
        assert hall.db.in_transaction
    with pytest.raises(ZeroDivisionError), hall.barrier.transaction(lambda: hall.db) as db:
        hall.barrier.undo(db, undo_context(succeeded=True), failing(ZeroDivisionError()))
    assert hall.seats == 1


def test_an_action_that_commits_by_itself_is_found_out(hall: Hall) -> None:
    def change(db: sqlite3.Connection) -> Ticket:
        db.commit()
        return Ticket(4)

    with pytest.raises(sqlite3.OperationalError, match="no such savepoint"):
        hall.book(change=change)
    with pytest.raises(BarrierMisuse, match="committed the barrier's transaction itself"):
        hall.book(2, must_not_run)


def test_rows_may_look_as_they_like_on_the_connection(hall: Hall) -> None:
    hall.db.row_factory = lambda _cursor, _values: "rows are texts here"
    hall.db.text_factory = bytes
    assert hall.book() == hall.book(2, must_not_run)
    assert hall.cancel() is Undone.NOW
