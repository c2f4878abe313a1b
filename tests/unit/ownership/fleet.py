"""SECs on one store in memory, each with its engine, its keeper and a worker that tests play."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from prometheus_client import CollectorRegistry

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.api.creation import CreationMaker
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.core.decide import Result
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Disposition, Failure, Payload
from sagaline_server.dispatch.dispatcher import Dispatcher, ref_key
from sagaline_server.dispatch.session import AttemptKey, Session
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.cluster import ClusterStore
from sagaline_server.runtime.creations import Creations
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery
from sagaline_server.store.memory import MemoryBackend, MemoryStore

ACTIONS = ("a", "b", "c")
SUCCESS = Payload(json="1")
FAILURE = Failure("NoRoom", "there is no room", Disposition.FAIL)


class PlayedSec:
    """A SEC, and a worker that serves every action there."""

    def __init__(self, store: MemoryBackend | ClusterStore, name: str, slots: int = 1_000) -> None:
        self.name = name
        self.store: ClusterStore = MemoryStore(store) if isinstance(store, MemoryBackend) else store
        clock, chance = SystemClock(), SystemRandom()
        self.dispatcher = Dispatcher(clock, lambda: 0.0)
        metrics = RuntimeMetrics(CollectorRegistry())
        self.engine = SagaEngine(self.store, self.dispatcher, clock, lambda: 0.0, chance.writer_id, name, metrics)
        self.creations = Creations(self.engine)
        self.membership = Membership(name)
        self.keeper = Keeper(self.store, self.engine, Recovery(self.engine, Folder()), self.membership, clock)
        self.hand_offs = HandOffs(self.store, self.engine, self.membership, clock)
        self.maker = CreationMaker(clock, chance.entropy)
        self.held: dict[AttemptKey, str] = {}
        """Attempts that the worker runs, with their actions."""
        self._tasks: list[asyncio.Task[None]] = []
        hello = pb.Hello(protocol_version=1, worker_id=f"worker-of-{name}", stream_epoch=1)
        hello.actions.extend(pb.ActionSpec(action=action) for action in ACTIONS)
        hello.capacity.max_in_flight_by_pool[""] = slots
        hello.in_flight.complete = True
        self.session: Session = self.dispatcher.connect(hello, _nothing, 0.0)[0]
        self.dispatcher.reconcile(self.session)

    async def open(self) -> None:
        await self.store.open(sec_id=self.name, address=f"{self.name}:1", version="1")
        await self.keeper.refresh()
        self.engine.is_serving = True
        self._tasks = [asyncio.create_task(self.engine.commit.run()), asyncio.create_task(self.keeper.run())]

    async def close(self) -> None:
        await self.hand_offs.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.dispatcher.clear_sagas()

    async def create(self, spec: saga_pb2.SagaSpec) -> None:
        await self.creations.create([self.maker.make(spec, self.maker.moment())])

    def receive(self) -> None:
        """Let the worker read what was sent to it, and say what it holds of what is asked for."""
        while (frame := self.session.take_frame()) is not None:
            for invocation in frame.invocations:
                self.held[ref_key(invocation.ref)] = invocation.action
        self.session.received(self.session.last_sequence)

    def in_flight(self, action: str) -> int:
        return sum(1 for key, name in self.held.items() if name == action and key[2] is Kind.ACTION)

    def finish(self, key: AttemptKey, *, failed: bool) -> None:
        """End an attempt, as the stream of its worker does."""
        del self.held[key]
        saga_id, node, kind, attempt = key
        self.dispatcher.answered(self.session, key)
        result = Result(node, kind, attempt, failure=FAILURE) if failed else Result(node, kind, attempt, output=SUCCESS)
        self.engine.result(saga_id, result, _nobody)
        self.dispatcher.pump(self.session)


def drawn_saga(saga_id: str, draw: random.Random, scopes: tuple[str, ...] = ()) -> saga_pb2.SagaSpec:
    """Return a saga of a few nodes, each after some of those before it."""
    spec = saga_pb2.SagaSpec(saga_id=saga_id)
    spec.params.json = "{}"
    spec.graph.name = "drawn"
    spec.scopes.extend(draw.sample(scopes, draw.randint(0, len(scopes))))
    for number in range(draw.randint(1, 5)):
        node = spec.graph.nodes.add(name=f"n{number}")
        node.action.action = draw.choice(ACTIONS)
        node.action.undo.kind = saga_pb2.UNDO_KIND_ACTION
        node.after.extend(f"n{before}" for before in range(number) if draw.random() < 0.4)
    return spec


async def settle(is_quiet: Callable[[], bool] = lambda: True, passes: int = 12) -> None:
    """Let everything that is ready run."""
    for _ in range(passes):
        await asyncio.sleep(0)
    assert is_quiet()


def _nothing() -> None:
    """Wake nobody."""


def _nobody(_fate: object) -> None:
    """Wait for no fate."""
