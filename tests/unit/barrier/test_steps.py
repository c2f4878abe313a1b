"""In which order a barrier reads and writes: its steps are fed with replies, and no database is needed."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest

from sagaline import Retry
from sagaline.barrier.calls import call_of
from sagaline.barrier.statements import Dialect, Reply
from sagaline.barrier.steps import ARRIVALS_MAX, Found, Procedure, Steps
from sagaline.context import Kind
from sagaline.errors import NotRecorded
from tests.unit.barrier.contexts import action_context, undo_context

NOT_WRITTEN, WRITTEN = Reply(0), Reply(1)
NOT_FOUND = Reply(0)


def procedure(dialect: Dialect) -> Procedure:
    return Procedure(dialect, {"now": lambda: datetime(2026, 3, 1, tzinfo=UTC)})


def feed(steps: Steps[Found], replies: list[Reply], said: list[str]) -> None:
    """Run steps on these replies, and note the first words of their statements."""
    statement = next(steps)
    for reply in replies:
        said.append(statement.sql.split()[0])
        statement = steps.send(reply)
    said.append(statement.sql.split()[0])


def verbs(steps: Steps[Found], replies: list[Reply]) -> list[str]:
    """The same, up to their end."""
    said: list[str] = []
    with suppress(StopIteration):
        feed(steps, replies, said)
    return said


@pytest.mark.parametrize("dialect", Dialect)
def test_the_row_is_written_first(dialect: Dialect) -> None:
    """It is what others wait for: nothing is read before it."""
    assert verbs(procedure(dialect).arrive(call_of(action_context(), Kind.ACTION, "")), [WRITTEN]) == ["INSERT"]


@pytest.mark.parametrize("dialect", Dialect)
def test_a_row_that_goes_between_writing_and_reading_is_written_again(dialect: Dialect) -> None:
    steps = procedure(dialect).arrive(call_of(action_context(), Kind.ACTION, ""))
    assert verbs(steps, [NOT_WRITTEN, NOT_FOUND, WRITTEN]) == ["INSERT", "SELECT", "INSERT"]


def test_a_row_that_goes_again_and_again_is_left_to_the_next_attempt() -> None:
    steps = procedure(Dialect.POSTGRESQL).arrive(call_of(action_context(), Kind.ACTION, ""))
    with pytest.raises(Retry, match=r"sagaline\.BarrierBusy"):
        verbs(steps, [NOT_WRITTEN, NOT_FOUND] * ARRIVALS_MAX)


@pytest.mark.parametrize(
    ("dialect", "expected"), [(Dialect.SQLITE, ["UPDATE", "SELECT"]), (Dialect.POSTGRESQL, ["SELECT"])]
)
def test_an_undo_of_a_known_success_writes_no_tombstone(dialect: Dialect, expected: list[str]) -> None:
    """In SQLite, where reading keeps nobody from writing and may not even begin a transaction, it locks first."""
    said: list[str] = []
    steps = procedure(dialect).arrive(call_of(undo_context(succeeded=True), Kind.UNDO, ""))
    with pytest.raises(NotRecorded):
        feed(steps, [NOT_FOUND] * 3, said)
    assert said == expected
