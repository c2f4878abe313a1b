"""One SEC's engine and hand-offs on a store in memory, and another SEC that lives."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from prometheus_client import CollectorRegistry

from sagaline.v1 import saga_pb2
from sagaline_server.api.creation import CreationMaker
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.core.decide import SetPaused
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.cluster import ClusterEvent
from sagaline_server.ports.store import SecRecord
from sagaline_server.runtime.creations import Creations
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.store.memory import Fault, MemoryBackend, MemoryStore
from tests.unit.ownership.waiting import until


class LaggingStore(MemoryStore):
    """A store whose watcher falls behind, and whose requests are late, when a test wants it to."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self.keeps_up = asyncio.Event()
        self.keeps_up.set()
        self.meanwhile: Callable[[], Awaitable[object]] | None = None
        """What happens before the next request gets to the store."""

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().put_control(saga_id, control_id, control)

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        async for event in super().watch():
            await self.keeps_up.wait()
            yield event


class Desk:
    """One SEC's engine and hand-offs, and another SEC that lives."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked = asyncio.Event()
        """Set when the store is asked to hand off."""
        self.backend = MemoryBackend(self._fault)
        self.store, self.other = MemoryStore(self.backend), LaggingStore(self.backend)
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
