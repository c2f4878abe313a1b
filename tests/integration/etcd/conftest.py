"""Stores on a real etcd, and the client that checks what they wrote."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from sagaline_server.ports.clock import Clock
from sagaline_server.store.etcd.channel import EtcdOptions
from sagaline_server.store.etcd.store import EtcdStore
from tests.contracts.clusters import BootClock
from tests.etcd_server import QUICK, EtcdServer, independent_client
from tests.tcp_proxy import TcpProxy


class ManualClock:
    """Time that passes only when a test says so. Tells when it is read."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._read = asyncio.Event()

    def wall(self) -> float:
        return self.now

    def boottime(self) -> float:
        self._read.set()
        return self.now

    async def next_reading(self) -> None:
        """Wait until somebody reads it: a renewal is about to be sent."""
        self._read.clear()
        async with asyncio.timeout(20):
            await self._read.wait()


class OpenStore(Protocol):
    async def __call__(self, *, sec_id: str = "sec-a", clock: Clock | None = None, **options: Any) -> EtcdStore: ...


ProxyTo = Callable[[str], Awaitable[TcpProxy]]


@pytest.fixture
def own_etcd(tmp_path: Path) -> Iterator[Callable[..., EtcdServer]]:
    """Start an etcd of the test's own, with flags."""
    servers: list[EtcdServer] = []

    def start(*flags: str, **options: Any) -> EtcdServer:
        directory = tmp_path / f"etcd-{len(servers)}"
        directory.mkdir()
        server = EtcdServer(directory, *QUICK, *flags, **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.kill()


@pytest.fixture
async def proxy_to() -> AsyncIterator[ProxyTo]:
    """Put a proxy before an endpoint."""
    async with AsyncExitStack() as stack:

        async def start(endpoint: str) -> TcpProxy:
            return await stack.enter_async_context(TcpProxy(endpoint))

        yield start


@pytest.fixture
async def open_store(
    prefix: str, request: pytest.FixtureRequest, own_etcd: Callable[..., EtcdServer], proxy_to: ProxyTo
) -> AsyncIterator[OpenStore]:
    """Open stores that are closed when the test ends, before its servers. Options are those of `EtcdOptions`."""
    async with AsyncExitStack() as stack:

        async def open_it(*, sec_id: str = "sec-a", clock: Clock | None = None, **options: Any) -> EtcdStore:
            if "endpoints" not in options:
                server: EtcdServer = request.getfixturevalue("etcd_server")
                options["endpoints"] = (server.endpoint,)
            store = EtcdStore(EtcdOptions(**{"prefix": prefix, **options}), clock or BootClock())
            await store.open(sec_id=sec_id, address="host:7433", version="1")
            stack.push_async_callback(store.close)
            return store

        yield open_it


@pytest.fixture
def independent(etcd_server: EtcdServer) -> Iterator[Any]:
    """`etcd3`, connected to the shared etcd."""
    client = independent_client(etcd_server.endpoint)
    yield client
    client.close()
