"""What is handed to a SEC runs there at once, also when the events that tell of it were too many."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from prometheus_client import CollectorRegistry

from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery
from sagaline_server.store.feed import EVENTS_MAX
from tests.unit.ownership.desk import Desk
from tests.unit.ownership.waiting import until

SAGAS = EVENTS_MAX + 10
"""One hand-off each, more than a watcher may be behind."""


class Taker:
    """The other SEC of a desk, which takes what is handed to it."""

    def __init__(self, desk: Desk) -> None:
        clock, random = SystemClock(), SystemRandom()
        metrics = RuntimeMetrics(CollectorRegistry())
        self.engine = SagaEngine(
            desk.other, Dispatcher(clock, random.draw), clock, random.draw, random.writer_id, "sec-b", metrics
        )
        self.engine.is_serving = True
        membership = Membership("sec-b")
        self.keeper = Keeper(desk.other, self.engine, Recovery(self.engine, Folder()), membership, clock)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let it follow the store, and write."""
        self._tasks = [asyncio.create_task(self.keeper.run()), asyncio.create_task(self.engine.commit.run())]

    async def close(self) -> None:
        """End what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    """A SEC that gives."""
    desk = Desk()
    await desk.open()
    desk.commit()
    yield desk
    await desk.close()


@pytest.fixture
async def taker(desk: Desk) -> AsyncIterator[Taker]:
    """A SEC that takes, and has looked at everything a moment ago."""
    taker = Taker(desk)
    taker.start()
    await desk.create("first")
    await desk.hand_offs.hand_off(["first"], desk.target)
    await until(lambda: "first" in taker.engine.sagas)
    yield taker
    await taker.close()


async def test_more_hand_offs_than_events_are_kept_are_all_taken_at_once(desk: Desk, taker: Taker) -> None:
    """Nothing waits for the next sweep: whoever falls behind looks at what has been asked."""
    ids = [f"s-{number}" for number in range(SAGAS)]
    for saga_id in ids:
        await desk.create(saga_id)
    desk.other.keeps_up.clear()
    assert await desk.hand_offs.hand_off(ids, desk.target) == SAGAS
    desk.other.keeps_up.set()
    await until(lambda: taker.engine.sagas.keys() >= set(ids))
    await until(lambda: not any(desk.backend.controls(saga_id) for saga_id in ids))
