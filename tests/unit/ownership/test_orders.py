"""An order that another SEC accepts is carried out by the owner, or refused: never confirmed and lost (rule 16)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import grpc
import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1 import saga_pb2
from sagaline_server.api.ids import uuid7
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.core.decide import Order, SetBreakpoints, SetPaused, Step, Unwind
from sagaline_server.core.entries import Breakpoint, Entry, GateChanged
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.ownership import cluster_runtime as cluster_runtime_module
from sagaline_server.ownership.cluster_runtime import ClusterRuntime
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.store import StoredSaga
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery
from sagaline_server.runtime.requests import NotServing, RequestRefused
from sagaline_server.runtime.runtime import Runtime
from sagaline_server.store.memory import MemoryStore
from tests.unit.ownership.desk import Desk

SECONDS = 10.0
SAGA = "s-1"
POINT = (Breakpoint("only"),)


def cluster_runtime(store: MemoryStore, engine: SagaEngine, name: str) -> tuple[ClusterRuntime, Keeper]:
    """Return what answers for all sagas on one SEC, and its keeper."""
    clock, random, folder, membership = SystemClock(), SystemRandom(), Folder(), Membership(name)
    keeper = Keeper(store, engine, Recovery(engine, folder), membership, clock)
    hand_offs = HandOffs(store, engine, membership, clock)
    new_id = partial(_new_id, clock, random)
    runtime = ClusterRuntime(engine, folder, store, keeper, membership, hand_offs, new_id, grpc.aio.insecure_channel)
    return runtime, keeper


def _new_id(clock: SystemClock, random: SystemRandom) -> str:
    return uuid7(clock.wall(), random.entropy)


class Pair:
    """The owner of a saga, and another SEC that is asked."""

    def __init__(self, desk: Desk) -> None:
        clock, random = SystemClock(), SystemRandom()
        metrics = RuntimeMetrics(CollectorRegistry())
        elsewhere = SagaEngine(
            desk.other, Dispatcher(clock, random.draw), clock, random.draw, random.writer_id, "sec-b", metrics
        )
        self.desk = desk
        self.here: Runtime = Runtime(desk.engine, Folder())
        _, keeper = cluster_runtime(desk.store, desk.engine, "sec-a")
        self.other, other_keeper = cluster_runtime(desk.other, elsewhere, "sec-b")
        self._keepers = (keeper, other_keeper)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Let both follow the store."""
        self._tasks = [asyncio.create_task(keeper.run()) for keeper in self._keepers]

    async def close(self) -> None:
        """End what runs."""
        await self.other.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def ask(self, given: Order, *meanwhile: Order) -> saga_pb2.Saga:
        """Give an order to the SEC that does not own the saga; before it is in the store, the owner obeys others."""

        async def obey() -> None:
            for order in meanwhile:
                await self.here.request(SAGA, order)

        self.desk.other.meanwhile = obey
        async with asyncio.timeout(SECONDS):
            return await self.other.request(SAGA, given)

    async def entries(self) -> list[Entry]:
        """Return the saga's log."""
        return [stamped.entry for stamped in (await self.here.read_log(SAGA, 1, 100))[0]]


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A saga that runs at one of two SECs."""
    desk = Desk()
    await desk.open()
    desk.commit()
    await desk.create(SAGA)
    pair = Pair(desk)
    pair.start()
    yield pair
    await pair.close()
    await desk.close()


async def gates(pair: Pair) -> list[tuple[bool, int, tuple[Breakpoint, ...]]]:
    """Return what the log says of the gate."""
    found = [entry for entry in await pair.entries() if isinstance(entry, GateChanged)]
    return [(entry.paused, entry.steps, entry.breakpoints) for entry in found]


async def test_every_kind_of_order_for_the_gate_is_carried_out_once(pair: Pair) -> None:
    assert (await pair.ask(SetPaused(paused=True))).paused
    await pair.ask(Step(2))
    await pair.ask(SetBreakpoints(POINT))
    assert not (await pair.ask(SetPaused(paused=False))).paused
    assert await gates(pair) == [(True, 0, ()), (True, 2, ()), (True, 2, POINT), (False, 0, POINT)]


async def test_what_the_owner_has_to_refuse_is_refused(pair: Pair) -> None:
    """The saga was paused when the order was accepted, and is not when its owner comes to it."""
    await pair.ask(SetPaused(paused=True))
    with pytest.raises(RequestRefused) as refused:
        await pair.ask(Step(1), SetPaused(paused=False))
    assert refused.value.code == "SAGA_NOT_PAUSED"
    assert await gates(pair) == [(True, 0, ()), (False, 0, ())]


async def test_what_the_owner_made_of_an_order_is_found_out_where_word_of_it_is_lost(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_runtime_module, "ORDER_SECONDS", 0.2)
    await pair.ask(SetPaused(paused=True))
    pair.desk.other.keeps_up.clear()
    assert (await pair.ask(SetBreakpoints(POINT))).paused
    with pytest.raises(RequestRefused) as refused:
        await pair.ask(SetPaused(paused=False), Unwind())
    assert refused.value.code == "SAGA_FINISHED"
    pair.desk.other.keeps_up.set()


async def test_an_order_for_a_saga_that_ends_first_is_refused(pair: Pair) -> None:
    with pytest.raises(RequestRefused) as refused:
        await pair.ask(SetPaused(paused=True), Unwind())
    assert refused.value.code == "SAGA_FINISHED"
    assert await gates(pair) == []


async def test_what_somebody_else_has_ordered_meanwhile_is_confirmed(pair: Pair) -> None:
    view = await pair.ask(Unwind(), Unwind())
    assert view.state == saga_pb2.SAGA_STATE_UNWOUND
    assert (await pair.ask(Unwind())).state == saga_pb2.SAGA_STATE_UNWOUND


async def test_an_order_that_made_no_sense_then_and_does_now_is_to_be_given_again(pair: Pair) -> None:
    """Nothing is known to be wrong with it, and nothing was done."""
    await pair.ask(SetPaused(paused=True))
    live, there = pair.desk.engine.sagas[SAGA], pair.desk.other.read

    async def read(saga_id: str) -> StoredSaga | None:
        if not live.state.paused:  # the owner has come to the order; now it is paused again
            await pair.here.request(SAGA, SetPaused(paused=True))
        return await there(saga_id)

    vars(pair.desk.other)["read"] = read
    with pytest.raises(NotServing):
        await pair.ask(Step(1), SetPaused(paused=False))
    assert all(steps == 0 for _, steps, _ in await gates(pair))


async def test_each_sec_is_shown_with_what_it_owns(pair: Pair) -> None:
    """Also by a SEC that owns nothing itself."""
    keeper = pair.other._keeper
    await keeper.refresh()
    await keeper.sweep()
    assert {status.sec.sec_id: status.owned_sagas for status in pair.other.secs()} == {"sec-a": 1, "sec-b": 0}


async def test_why_a_saga_does_not_run_is_told_by_a_sec_that_owns_it_and_cannot_run_it(pair: Pair) -> None:
    desk = pair.desk
    owner, _ = cluster_runtime(desk.store, desk.engine, "sec-a")
    desk.engine.lose(desk.engine.sagas[SAGA])
    assert (await owner.explain(SAGA)).warnings == ["it is being taken over: its log is read"]
    desk.engine.quarantine(SAGA, "entry 3 is odd")
    assert (await owner.explain(SAGA)).warnings == ["it is set aside: entry 3 is odd"]
