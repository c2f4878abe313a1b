"""A client with the addresses of two real SECs on a real etcd: one is killed, and everything goes on over the other."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagaline.client import Client
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
