"""Two at once: one of them is first, and the other finds what it has recorded."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import IsolationLevel
from psycopg.errors import SerializationFailure
from sqlalchemy.exc import DataError, OperationalError

from sagaline import Context, Failed
from sagaline.barrier import PsycopgBarrier, SqliteBarrier
from sagaline.v1 import failure_pb2
from sagaline.worker.outcomes import of_error
from tests.integration.barrier.faces import POSTGRESQL
from tests.integration.barrier.racing import EFFECTS, TABLES, Crash, Gate, Racer, threads, until
from tests.unit.barrier.contexts import action_context, undo_context

READ_COMMITTED = IsolationLevel.READ_COMMITTED
SNAPSHOTS = (IsolationLevel.REPEATABLE_READ, IsolationLevel.SERIALIZABLE)


@dataclass(frozen=True)
class Race:
    """Who stands in the barrier while who arrives, and what has to come of it."""

    before: tuple[Context, ...]
    first: Context
    second: Context
    if_first_commits: str
    if_first_crashes: str
    effects: tuple[tuple[int, int], tuple[int, int]] = ((0, 0), (0, 0))
    """How often made and reversed, if the first commits and if it crashes; nothing remains where it fails."""
    if_first_fails: str = ""
    """Only an action's failure is recorded."""


A1, A2 = action_context(1, attempt=1), action_context(2, attempt=2)
U1, U2 = undo_context(11, attempt=1), undo_context(12, attempt=2)

RACES = {
    "action, action": Race((), A1, A2, "ticket 1", "ticket 2", ((1, 0), (1, 0)), "SoldOut"),
    "action, undo": Race((), A1, U1, "now", "nothing", ((1, 1), (0, 0)), "nothing"),
    "undo first, action": Race((), U1, A1, "Suppressed", "ticket 1", effects=((0, 0), (1, 0))),
    "undo first, undo": Race((), U1, U2, "before", "nothing"),
    "done: undo, undo": Race((A1,), U1, U2, "before", "now", effects=((1, 1), (1, 1))),
    "done: undo, action": Race((A1,), U1, A1, "Suppressed", "ticket 1", effects=((1, 1), (1, 0))),
    "done: action, undo": Race((A1,), A2, U1, "now", "now", effects=((1, 1), (1, 1))),
}

CASES = [
    pytest.param(race, ending, id=f"{name}, first {ending}")
    for name, race in RACES.items()
    for ending in ("commits", "crashes", "fails")
    if ending != "fails" or race.if_first_fails
]
in_every_case = pytest.mark.parametrize(("race", "ending"), CASES)


def expected(race: Race, ending: str) -> tuple[str, tuple[int, int]]:
    if ending == "commits":
        return race.if_first_commits, race.effects[0]
    if ending == "crashes":
        return race.if_first_crashes, race.effects[1]
    return race.if_first_fails, (0, 0)


def run(
    race: Race, ending: str, first: Racer, second: Racer, arrives: Callable[[], None] = lambda: None
) -> tuple[str, BaseException | None]:
    """Let the first stand at its gate while the second arrives; return the second's answer, and what it met before."""
    for context in race.before:
        first.arrive(context)
    gate = Gate()
    with threads() as start:
        before_end = gate.stand_and_crash if ending == "crashes" else gate.stand
        one = start(first.arrive, race.first, before_end, fails=ending == "fails")
        gate.wait_until_reached()
        two = start(second.arrive, race.second)
        try:
            arrives()
        finally:
            gate.open()
        if ending == "crashes":
            with pytest.raises(Crash):
                one.result()
        else:
            one.result()
        met = two.exception()
        return (second.arrive(race.second) if met is not None else two.result()), met


# ---- PostgreSQL


class Postgres:
    """A database, and racers on connections of their own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.watch = psycopg.connect(url, autocommit=True)
        PsycopgBarrier().create_table(self.watch)
        for statement in TABLES:
            self.watch.execute(statement)

    def begin(self, isolation: IsolationLevel) -> Callable[[], Any]:
        @contextmanager
        def begin() -> Iterator[psycopg.Connection[Any]]:
            with psycopg.connect(self._url) as connection:
                connection.isolation_level = isolation
                yield connection

        return begin

    def racer(self, isolation: IsolationLevel) -> Racer:
        return Racer(PsycopgBarrier(self.begin(isolation)), lambda tx, text: tx.execute(text))

    def wait_until_one_waits(self) -> None:
        """For a lock that another holds."""
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND cardinality(pg_blocking_pids(pid)) > 0"
        )
        until(lambda: self.one(waiting) == (1,))

    def one(self, query: str) -> Any:
        return self.watch.execute(query).fetchone()


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Postgres]:
    made = Postgres(postgres_url)
    yield made
    made.watch.close()


@pytest.mark.postgres
@in_every_case
@pytest.mark.parametrize("isolation", [READ_COMMITTED, *SNAPSHOTS], ids=lambda level: level.name)
def test_g11_two_at_once(postgres: Postgres, race: Race, ending: str, isolation: IsolationLevel) -> None:
    """The second waits for the first. Under a snapshot it cannot see what that committed, so it has to come again."""
    answer, effects = expected(race, ending)
    told, met = run(race, ending, postgres.racer(isolation), postgres.racer(isolation), postgres.wait_until_one_waits)
    assert told == answer
    assert postgres.one(EFFECTS) == effects
    if isolation is READ_COMMITTED or ending == "crashes":
        assert met is None
    else:
        assert isinstance(met, SerializationFailure)
        failure = of_error(met, race.second, stack_trace=False)
        assert failure.disposition == failure_pb2.FAILURE_DISPOSITION_RETRY


@pytest.mark.postgres
@pytest.mark.parametrize("isolation", SNAPSHOTS, ids=lambda level: level.name)
def test_once_comes_again_by_itself(postgres: Postgres, isolation: IsolationLevel) -> None:
    barrier = PsycopgBarrier(postgres.begin(isolation))

    @barrier.once
    def book(tx: psycopg.Connection[Any], context: Context) -> str:
        tx.execute("UPDATE effects SET made = made + 1")
        return f"ticket {context.attempt}"

    gate = Gate()
    with threads() as start:
        one = start(postgres.racer(isolation).arrive, A1, gate.stand)
        gate.wait_until_reached()
        two = start(book, A2)
        postgres.wait_until_one_waits()
        gate.open()
        assert (one.result(), two.result()) == ("ticket 1", "ticket 1")
    assert postgres.one(EFFECTS) == (1, 0)


FAIL_FOR_OTHERS = "DO $$ BEGIN RAISE EXCEPTION SQLSTATE '40P01'; END $$"


@pytest.mark.postgres
@pytest.mark.parametrize("library", POSTGRESQL)
async def test_once_gives_up_in_the_end(postgres_url: str, library: str) -> None:
    """Then the SEC has it tried again."""
    calls: list[str] = []
    async with AsyncExitStack() as stack:
        face = POSTGRESQL[library](stack, postgres_url)
        await face.create()

        def note(text: str) -> str:
            calls.append(text)
            return text

        with pytest.raises((psycopg.errors.DeadlockDetected, OperationalError)):
            await face.once(action_context(), note, FAIL_FOR_OTHERS)
        assert calls == [FAIL_FOR_OTHERS] * 3
        calls.clear()
        with pytest.raises((psycopg.errors.DivisionByZero, DataError)):
            await face.once(action_context(), note, "SELECT 1 / 0")
        assert calls == ["SELECT 1 / 0"], "no other error is tried again here"


@pytest.mark.postgres
@pytest.mark.parametrize("isolation", [READ_COMMITTED, IsolationLevel.SERIALIZABLE], ids=lambda level: level.name)
def test_g11_many_at_once(postgres: Postgres, isolation: IsolationLevel) -> None:
    """Attempts of action and undo action, all at the same time: whoever wins, nothing remains after the undo."""
    contexts = [action_context(token, attempt=token) for token in range(1, 7)]
    contexts += [undo_context(token) for token in range(11, 13)]

    def arrive(context: Context) -> str:
        racer = postgres.racer(isolation)
        while True:
            try:
                return racer.arrive(context)
            except SerializationFailure:
                continue

    with threads() as start:
        answers = [each.result() for each in [start(arrive, context) for context in contexts]]
    made, undone = postgres.one(EFFECTS)
    assert made == undone <= 1
    assert len({answer for answer in answers[:6] if answer.startswith("ticket")}) <= 1
    assert all(answer.startswith("ticket") or answer in ("Suppressed", "StaleToken") for answer in answers[:6])
    assert set(answers[6:]) & {"before", "StaleToken"}, "of two undos, one found the other's work"


@pytest.mark.postgres
def test_expiring_does_not_wait_for_others(postgres: Postgres) -> None:
    """Nor does it remove a row that somebody is working on."""
    racer = postgres.racer(READ_COMMITTED)
    with pytest.raises(Failed):
        raise Failed(racer.arrive(A1, fails=True))
    postgres.watch.execute("UPDATE sagaline_barrier SET expires_at = now() - interval '1 day'")
    gate = Gate()
    with threads() as start:
        one = start(racer.arrive, U1, gate.stand)
        gate.wait_until_reached()
        try:
            assert PsycopgBarrier().expire(postgres.watch) == 0
        finally:
            gate.open()
        assert one.result() == "nothing"
    assert postgres.one("SELECT state FROM sagaline_barrier") == ("CANCELLED",)


# ---- SQLite


@in_every_case
@pytest.mark.parametrize("begin", ["BEGIN IMMEDIATE", "BEGIN DEFERRED", ""])
def test_g11_two_at_once_in_sqlite(tmp_path: Path, race: Race, ending: str, begin: str) -> None:
    """The second waits for the first where it begins, or where it writes."""
    answer, effects = expected(race, ending)
    path = tmp_path / "race.db"

    @contextmanager
    def begun() -> Iterator[sqlite3.Connection]:
        db = sqlite3.connect(path, timeout=30, isolation_level=None if begin else "DEFERRED")
        try:
            if begin:
                db.execute(begin)
            with db:
                yield db
        finally:
            db.close()

    with begun() as db:
        SqliteBarrier().create_table(db)
        for statement in TABLES:
            db.execute(statement)
    first, second = (Racer(SqliteBarrier(begun), lambda tx, text: tx.execute(text)) for _ in range(2))
    told, met = run(race, ending, first, second)
    assert (told, met) == (answer, None)
    with begun() as db:
        assert db.execute(EFFECTS).fetchone() == effects
