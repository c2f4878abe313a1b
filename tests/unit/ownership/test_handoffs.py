"""Hand-offs that meet each other, and those whose asker has gone: a saga never waits longer than a hand-off takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sagaline_server.runtime.live import Wake
from tests.unit.ownership.desk import Desk
from tests.unit.ownership.waiting import SECONDS, until


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A SEC that runs one saga."""
    desk = Desk()
    await desk.open()
    desk.commit()
    await desk.create("s")
    yield desk
    await desk.close()


async def test_two_hand_offs_of_one_saga_both_come_to_an_end(desk: Desk) -> None:
    """An operator's and the drain's, while an append is under way: the saga is handed off once, and both return."""
    live = await desk.begin_append("s")
    first = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    await until(lambda: live.on_idle is not None)
    waits = live.on_idle
    second = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    await until(lambda: second.done() or live.on_idle is not waits)
    desk.commit()
    async with asyncio.timeout(SECONDS):
        assert sum([await first, await second]) == 1
    assert await desk.owner_of("s") == "sec-b"


async def test_an_asker_that_gives_up_while_the_saga_is_held_leaves_it_running(desk: Desk) -> None:
    """The hand-off goes on without whoever asked for it: the saga does not stay held for ever."""
    live = await desk.begin_append("s")
    asking = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    await until(lambda: live.on_idle is not None)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    desk.commit()
    async with asyncio.timeout(SECONDS):
        await desk.asked.wait()
    assert await desk.owner_of("s") == "sec-b"


async def test_an_asker_that_gives_up_while_the_store_is_away_does_not_stall_the_saga(desk: Desk) -> None:
    """What has become of the hand-off is found out all the same, and at once when the store is back."""
    desk.is_away = True
    asking = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    async with asyncio.timeout(SECONDS):
        await desk.asked.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    assert "s" in desk.engine.sagas
    desk.is_away = False
    desk.asked.clear()
    async with asyncio.timeout(SECONDS):
        await desk.asked.wait()
    assert await desk.owner_of("s") == "sec-b"


async def test_a_saga_that_is_being_handed_off_takes_no_turn(desk: Desk) -> None:
    """What comes in meanwhile waits, whoever asks for a second hand-off."""
    desk.is_away = True
    first = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    async with asyncio.timeout(SECONDS):
        await desk.asked.wait()
        assert await desk.hand_offs.hand_off(["s"], desk.target) == 0
    desk.engine.post(desk.engine.sagas["s"], Wake(0))
    assert desk.engine.sagas["s"].is_leaving
    desk.is_away = False
    async with asyncio.timeout(SECONDS):
        assert await first == 1


async def test_closing_gives_up_hand_offs_whose_outcome_is_not_known(desk: Desk) -> None:
    """A SEC that stops does not wait for a store that is away; it writes nothing more to those sagas."""
    desk.is_away = True
    asking = asyncio.create_task(desk.hand_offs.hand_off(["s"], desk.target))
    async with asyncio.timeout(SECONDS):
        await desk.asked.wait()
        await desk.hand_offs.close()
        await asyncio.gather(asking, return_exceptions=True)
    assert "s" not in desk.engine.sagas
