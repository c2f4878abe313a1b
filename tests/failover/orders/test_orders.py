"""Every SEC answers for every saga: two real SECs on a real etcd, and no worker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagaline import GraphBuilder
from sagaline.client import Client
from sagaline.errors import NotAllowedNow, RpcError, SagaAlreadyExists
from sagaline.v1 import log_pb2, saga_pb2
from tests.etcd_server import EtcdServer, etcd_server
from tests.failover.restart.actions import hand_on
from tests.processes import Process, free_port, start, until_serving

__all__ = ["etcd_server"]

SECONDS = 30.0
pytestmark = pytest.mark.etcd


def one() -> GraphBuilder[str]:
    """Return a builder with one action that nobody serves."""
    graph = GraphBuilder("one", params=str)
    graph.add("only", hand_on, graph.params)
    return graph


@pytest.fixture
async def secs(etcd_server: EtcdServer, tmp_path: Path) -> AsyncIterator[list[str]]:
    """Addresses of two SECs that share a store."""
    processes: list[Process] = []
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    for i, address in enumerate(addresses, 1):
        where = ["--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", f"/{tmp_path.name}/"]
        me = ["--listen", address, "--sec-id", f"sec-{i}", "--lease-ttl", "3"]
        processes.append(await start("sec", sys.executable, "-m", "sagaline_server", *where, *me))
    for address in addresses:
        await until_serving(address)
    yield addresses
    for process in processes:
        await process.stop()


async def test_orders_reach_the_owner_from_any_sec(secs: list[str]) -> None:
    """Orders given to a SEC that is not the owner are durable, and take effect once (rule 16)."""
    async with Client(secs[0]) as owner, Client(secs[1]) as other:
        created = await owner.create(one().build(), "x")
        saga = await other.pause(created.saga_id, actor="ann", reason="look")
        assert (saga.paused, saga.owner) == (True, "sec-1")
        assert (await other.pause(created.saga_id, reason="again")).paused
        assert not (await other.resume(created.saga_id, actor="ann")).paused
        ended = await other.unwind(created.saga_id, actor="ann", reason="enough")
        assert ended.state == saga_pb2.SAGA_STATE_UNWOUND
        entries = [entry async for entry in owner.log(created.saga_id)]
        assert [entry.gate_changed.paused for entry in entries if entry.HasField("gate_changed")] == [True, False]
        unwinds = [entry.unwind_requested for entry in entries if entry.HasField("unwind_requested")]
        assert [(unwind.actor, unwind.reason) for unwind in unwinds] == [("ann", "enough")]


def waiting() -> GraphBuilder[str]:
    """Return a builder with a wait for a signal, and an action after it that nobody serves."""
    graph = GraphBuilder("waiting", params=str)
    given = graph.signal("go", str)
    graph.add("only", hand_on, given)
    return graph


async def test_the_gate_is_steered_from_any_sec(secs: list[str]) -> None:
    """Steps and breakpoints given to a SEC that is not the owner stand in the log once, in their order (rule 16)."""
    async with Client(secs[0]) as owner, Client(secs[1]) as other:
        created = await owner.create(one().build(), "x")
        saga_id = created.saga_id
        with pytest.raises(NotAllowedNow) as refused:
            await other.step(saga_id)
        assert refused.value.reason == "SAGA_NOT_PAUSED"
        await other.set_breakpoints(saga_id, ["only"], actor="ann")
        await other.step(saga_id, 2)
        await other.step(saga_id, 3, reason="more")
        await other.set_breakpoints(saga_id, [])
        gates = [entry.gate_changed async for entry in owner.log(saga_id) if entry.HasField("gate_changed")]
        assert [(gate.steps, [point.node for point in gate.breakpoints]) for gate in gates] == [
            (0, ["only"]), (2, ["only"]), (5, ["only"]), (0, []),
        ]  # fmt: skip


async def test_a_signal_reaches_the_owner_from_any_sec_once(secs: list[str]) -> None:
    """The same request is one signal, whoever is asked; one too many is refused (rule 16)."""
    async with Client(secs[0]) as owner, Client(secs[1]) as other:
        created = await owner.create(waiting().build(), "x")
        for client in (other, owner, other):
            await client.signal(created.saga_id, "go", "now", request_id="one")
        with pytest.raises(NotAllowedNow) as refused:
            await other.signal(created.saga_id, "go", "again", request_id="two")
        assert refused.value.reason == "SIGNAL_NOT_AWAITED"
        with pytest.raises(RpcError) as unknown:
            await other.signal(created.saga_id, "stop")
        assert unknown.value.reason == "SIGNAL_NOT_FOUND"
        signals = [entry async for entry in owner.log(created.saga_id) if entry.HasField("signal_received")]
        assert [entry.signal_received.request_id for entry in signals] == ["one"]


async def test_resolving_what_needs_no_resolution_is_refused_by_any_sec(secs: list[str]) -> None:
    async with Client(secs[0]) as owner, Client(secs[1]) as other:
        created = await owner.create(one().build(), "x")
        paused = await owner.pause(created.saga_id)
        for client in (owner, other):
            with pytest.raises(NotAllowedNow) as refused:
                await client.resolve(created.saga_id, "only", log_pb2.RESOLUTION_RETRY, actor="ann", reason="try")
            assert refused.value.reason == "NODE_NOT_RESOLVABLE"
            with pytest.raises(NotAllowedNow) as changed:
                await client.resolve(
                    created.saga_id,
                    "only",
                    log_pb2.RESOLUTION_RETRY,
                    actor="ann",
                    reason="try",
                    expected_log_length=paused.log_length - 1,
                )
            assert changed.value.reason == "SAGA_CHANGED"


async def test_watches_and_waits_elsewhere_see_everything_once(secs: list[str]) -> None:
    """A watch on a SEC that is not the owner has no gap and no repetition, over a hand-off too."""
    async with Client(secs[0]) as owner, Client(secs[1]) as other:
        created = await owner.create(one().build(), "x")
        seen: list[log_pb2.LogEntry] = []
        began = asyncio.Event()

        async def watch() -> None:
            async for entry in other.watch(created.saga_id):
                seen.append(entry)
                began.set()

        watching = asyncio.create_task(watch())
        waiting = asyncio.create_task(other.wait(created.saga_id, wait_s=SECONDS))
        await asyncio.wait_for(began.wait(), SECONDS)
        await owner.pause(created.saga_id)
        await owner.unwind(created.saga_id)
        await asyncio.wait_for(watching, SECONDS)
        assert [entry.seq for entry in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].saga_finished.state == saga_pb2.SAGA_STATE_UNWOUND
        assert (await waiting).state == saga_pb2.SAGA_STATE_UNWOUND


async def test_concurrent_creates_of_one_id_make_one_saga(secs: list[str]) -> None:
    """The same id on two SECs at once is one saga; with other content it is refused (rule 17)."""
    graph = one().build()
    async with Client(secs[0]) as first, Client(secs[1]) as second:
        for i in range(10):
            created = await asyncio.gather(
                *(client.create(graph, "same", saga_id=f"twin-{i}") for client in (first, second) * 3)
            )
            assert sum(not each.existed for each in created) == 1
            log = [entry async for entry in second.log(f"twin-{i}")]
            assert sum(entry.HasField("saga_created") for entry in log) == 1
        with pytest.raises(SagaAlreadyExists):
            await second.create(graph, "other", saga_id="twin-0")
