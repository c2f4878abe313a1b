"""A client with the addresses of two real SECs on a real etcd: one is killed, and everything goes on over the other."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagaline.client import Client, NewSaga
from sagaline.errors import SagaAlreadyExists, SagaNotFound, SagaUnfinished, SagaUnwound
from sagaline.v1 import log_pb2, saga_pb2
from tests.etcd_server import EtcdServer, etcd_server
from tests.failover.orders.test_orders import one
from tests.processes import Process, free_port, start, until_serving

__all__ = ["etcd_server"]

SECONDS = 60.0
UNWOUND = saga_pb2.SAGA_STATE_UNWOUND
pytestmark = pytest.mark.etcd


@pytest.fixture
async def secs(etcd_server: EtcdServer, tmp_path: Path) -> AsyncIterator[dict[str, Process]]:
    """Two SECs that share a store, by address."""
    processes: dict[str, Process] = {}
    for i in (1, 2):
        address = f"127.0.0.1:{free_port()}"
        where = ["--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", f"/{tmp_path.name}/"]
        me = ["--listen", address, "--sec-id", f"sec-{i}", "--lease-ttl", "3"]
        processes[address] = await start("sec", sys.executable, "-m", "sagaline_server", *where, *me)
        await until_serving(address)
    yield processes
    for process in processes.values():
        await process.stop()


async def test_watches_waits_and_orders_go_on_over_the_other_sec(secs: dict[str, Process]) -> None:
    """The first SEC owns the saga and dies; nothing that was begun through it fails, is doubled or has a gap."""
    first, _ = secs
    async with Client([*secs], patience_s=SECONDS) as client:
        created = await client.create(one().build(), "x", saga_id="watched")
        seen: list[log_pb2.LogEntry] = []
        began = asyncio.Event()

        async def watch() -> None:
            async for entry in client.watch("watched"):
                seen.append(entry)
                began.set()

        watching = asyncio.create_task(watch())
        waiting = asyncio.create_task(client.wait("watched"))
        await asyncio.wait_for(began.wait(), SECONDS)
        assert (await client.get("watched")).owner == "sec-1"
        secs[first].signal(signal.SIGKILL)
        assert (await client.create(one().build(), "x", saga_id="watched")).existed
        assert created.existed is False
        await client.set_breakpoints("watched", ["only"])
        assert (await client.step("watched")).saga_id == "watched"
        assert (await client.unwind("watched", reason="enough")).state == UNWOUND
        await asyncio.wait_for(watching, SECONDS)
        assert (await waiting).state == UNWOUND
        assert [entry.seq for entry in seen] == list(range(1, len(seen) + 1))
        assert seen[-1].saga_finished.state == UNWOUND
        assert seen == [entry async for entry in client.log("watched")]


async def test_a_run_whose_sec_was_killed_attaches_over_the_other_sec(secs: dict[str, Process]) -> None:
    """Rule 17: the call that creates and waits is lost with its SEC; repeated, it finds the saga and waits for it."""
    first, second = secs
    async with Client([first, second], patience_s=SECONDS) as client, Client(second) as other:
        new = NewSaga(one().build(), "x", saga_id="run")
        running = asyncio.create_task(client.create_and_wait(new))
        async with asyncio.timeout(SECONDS):
            assert await owner_of(other, "run") == "sec-1"
            secs[first].signal(signal.SIGKILL)
            assert (await other.unwind("run", reason="enough")).state == UNWOUND
            ended = await running
        assert (ended.saga_id, ended.state) == ("run", UNWOUND)
        assert [saga.saga_id async for saga in other.list()] == ["run"]
        with pytest.raises(SagaUnwound):
            await other.run(one().build(), "x", saga_id="run")
        with pytest.raises(SagaAlreadyExists):
            await other.run(one().build(), "other", saga_id="run")


async def test_a_run_waits_on_any_sec_for_a_saga_of_another(secs: dict[str, Process]) -> None:
    """The saga is there already, and another SEC owns it."""
    first, second = secs
    async with Client(first) as owner, Client(second) as other:
        await owner.create(one().build(), "x", saga_id="run")
        with pytest.raises(SagaUnfinished):
            await other.run(one().build(), "x", saga_id="run", wait_s=0.0)
        running = asyncio.create_task(other.create_and_wait(NewSaga(one().build(), "x", saga_id="run")))
        assert await owner_of(other, "run") == "sec-1"
        await owner.unwind("run", reason="enough")
        assert (await asyncio.wait_for(running, SECONDS)).state == UNWOUND


async def owner_of(client: Client, saga_id: str) -> str:
    """Return who owns a saga, as soon as it is there."""
    while True:
        try:
            return (await client.get(saga_id)).owner
        except SagaNotFound:
            continue
