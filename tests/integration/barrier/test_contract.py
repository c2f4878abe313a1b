"""What holds with every library and database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from sagaline import Failed, Hold, Retry
from sagaline.barrier import AsyncBarrier, Undone
from sagaline.errors import BarrierMisuse, InputMismatch, NotRecorded, StaleToken, Suppressed
from tests.integration.barrier.faces import Face, Ticket
from tests.unit.barrier.contexts import action_context, undo_context

FAILED = Failed("SoldOut", "no seat", details=[{"left": 0}])


async def test_g11_an_action_and_its_undo_happen_once(face: Face) -> None:
    for token in (1, 2):
        assert await face.book(action_context(token)) == Ticket(4)
        assert await face.seats() == 1
    assert await face.cancel(undo_context(10, succeeded=True)) is Undone.NOW
    assert await face.cancel(undo_context(11, succeeded=True)) is Undone.BEFORE
    for token in (1, 20):
        with pytest.raises(Suppressed):
            await face.book(action_context(token))
    assert await face.seats() == 0


async def test_g11_an_undo_that_comes_first_wins(face: Face) -> None:
    assert await face.cancel(undo_context()) is Undone.NOTHING
    with pytest.raises(Suppressed):
        await face.book(action_context())
    assert await face.seats() == 0


async def test_a_failure_is_committed_without_its_effect(face: Face) -> None:
    with pytest.raises(Failed) as told:
        await face.book(action_context(1), FAILED)
    assert told.value is FAILED
    with pytest.raises(Failed) as told:
        await face.book(action_context(2))
    assert (told.value.type, told.value.message, told.value.details) == ("SoldOut", "no seat", ({"left": 0},))
    assert await face.seats() == 0
    assert await face.cancel(undo_context()) is Undone.NOTHING


@pytest.mark.parametrize("error", [Retry("Busy"), Hold("Odd"), ZeroDivisionError()], ids=repr)
async def test_everything_else_rolls_back(face: Face, error: Exception) -> None:
    with pytest.raises(type(error)):
        await face.book(action_context(), error)
    assert await face.seats() == 0
    assert await face.book(action_context()) == Ticket(4)
    with pytest.raises(type(error)):
        await face.cancel(undo_context(), error)
    assert await face.seats() == 1
    assert await face.cancel(undo_context()) is Undone.NOW


async def test_refusals(face: Face) -> None:
    with pytest.raises(NotRecorded):
        await face.cancel(undo_context(succeeded=True))
    await face.book(action_context(5))
    await face.book(action_context(7))
    with pytest.raises(StaleToken):
        await face.book(action_context(6))
    with pytest.raises(InputMismatch):
        await face.book(action_context(8, inputs={"flight": "LH 2"}))
    assert await face.seats() == 1


async def test_rows_go_when_their_time_has_passed(face: Face) -> None:
    await face.book(action_context())
    for number in range(3):
        await face.cancel(undo_context(saga=f"other-{number}"))
    face.clock.move(timedelta(days=31))
    assert [await face.expire(limit=2) for _ in range(3)] == [2, 1, 0]
    assert await face.book(action_context()) == Ticket(4)
    await face.saga_ended("saga-1")
    face.clock.move(timedelta(days=29))
    assert await face.expire() == 0
    face.clock.move(timedelta(days=2))
    assert await face.expire(before=face.clock() - timedelta(days=2)) == 0
    assert await face.expire() == 1


async def test_once(face: Face) -> None:
    """Decorated functions get the connection or session of the barrier's own transactions."""
    noted: list[str] = []

    def note(text: str) -> str:
        noted.append(text)
        return text

    for _ in range(2):
        await face.once(action_context(), note, "INSERT INTO seats VALUES (4)")
    assert len(noted) == await face.seats() == 1


async def test_other_transactions_are_refused(face: Face) -> None:
    """Only the barrier's own commit a failure that is raised in them."""
    if isinstance(face.barrier, AsyncBarrier):
        with pytest.raises(BarrierMisuse, match="not begun by"):
            await face.barrier.action(object(), action_context(), _nothing, returns=None)
    else:
        with pytest.raises(BarrierMisuse, match="not begun by"):
            face.barrier.action(object(), action_context(), print, returns=None)


async def _nothing(_tx: object) -> None:
    return None
