"""Hand-offs that meet each other, and those whose asker has gone: a saga never waits longer than a hand-off takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1 import saga_pb2
from sagaline_server.api.creation import CreationMaker
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.core.decide import SetPaused
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.store import SecRecord
from sagaline_server.runtime.creations import Creations
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga, Wake
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.store.memory import Fault, MemoryBackend, MemoryStore

SECONDS = 10.0


class Desk:
    """One SEC's engine and hand-offs, and another SEC that lives."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = asyncio.Event()
        """Set when the store is asked to hand off."""
        self.backend = MemoryBackend(self._fault)
        self.store, self.other = MemoryStore(self.backend), MemoryStore(self.backend)
        clock, self._random = SystemClock(), SystemRandom()
        dispatcher = Dispatcher(clock, self._random.draw)
        metrics = RuntimeMetrics(CollectorRegistry())
        self.engine = SagaEngine(
            self.store, dispatcher, clock, self._random.draw, self._random.writer_id, "sec-a", metrics
        )
        self.creations = Creations(self.engine)
        self.membership = Membership("sec-a")
        self.hand_offs = HandOffs(self.store, self.engine, self.membership, clock)
        self._maker = CreationMaker(clock, self._random.entropy)
        self._committing: asyncio.Task[None] | None = None

    def _fault(self, method: str) -> Fault:
        if method == "hand_off":
            self.asked.set()
            if self.is_away:
                return Fault.LOSE_REQUEST
        return Fault.NONE

    async def open(self) -> None:
        """Let both SECs live, and this one serve."""
        await self.store.open(sec_id="sec-a", address="a:1", version="1")
        await self.other.open(sec_id="sec-b", address="b:1", version="1")
        self.membership.update(await self.store.list_secs(), self.store.revision)
        self.engine.is_serving = True

    def commit(self) -> None:
        """Let writes go through from now on."""
        self._committing = asyncio.create_task(self.engine.commit.run())

    async def hold_commits(self) -> None:
        """Let writes wait from now on."""
        if self._committing is not None:
            self._committing.cancel()
            await asyncio.gather(self._committing, return_exceptions=True)

    async def close(self) -> None:
        """End what runs."""
        await self.hand_offs.close()
        await self.hold_commits()

    async def begin_append(self, saga_id: str) -> LiveSaga:
        """Let an append of a saga be under way, and stay so."""
        await self.hold_commits()
        live = self.engine.sagas[saga_id]
        self.engine.post(live, SetPaused(paused=True))
        await until(lambda: live.is_writing)
        return live

    async def create(self, saga_id: str) -> None:
        """Create a saga whose node waits for a worker."""
        spec = saga_pb2.SagaSpec(saga_id=saga_id)
        spec.params.json = "{}"
        spec.graph.name = "one"
        spec.graph.nodes.add(name="only").action.action = "an.action"
        await self.creations.create([self._maker.make(spec, self._maker.moment())])

    @property
    def target(self) -> SecRecord:
        """The other SEC."""
        return self.membership.secs["sec-b"]

    async def owner_of(self, saga_id: str) -> str:
        """Return who owns a saga by the store's word."""
        owner = (await self.store.read_owners([saga_id]))[0]
        return "" if owner is None else owner.sec_id


async def until(holds: Callable[[], bool]) -> None:
    """Let others run until something holds."""
    async with asyncio.timeout(SECONDS):
        while not holds():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


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
