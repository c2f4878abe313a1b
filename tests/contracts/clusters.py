"""What the contract suite runs on: each store, and how to make it lose things and die.

Nothing of ours is replaced. Memory has a place where faults are decided; SQLite
gets a connection of the standard library's that fails to commit, or to say so;
etcd is a real one behind a proxy.
"""

from __future__ import annotations

import shutil
import sqlite3
import time
import uuid
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

from sagaline_server.ports.cluster import RELIST_SECONDS, ClusterStore
from sagaline_server.ports.store import SagaStore
from sagaline_server.store import sqlite as sqlite_store
from sagaline_server.store.etcd.channel import EtcdOptions
from sagaline_server.store.etcd.shards import agree
from sagaline_server.store.etcd.store import EtcdStore
from sagaline_server.store.memory import Fault, MemoryBackend, MemoryStore
from sagaline_server.store.sharded import ShardedStore
from sagaline_server.store.sqlite import SqliteStore
from tests.etcd_server import EtcdServer, independent_client
from tests.tcp_proxy import Lose, Losing, TcpProxy


class BootClock:
    """The machine's clocks."""

    def wall(self) -> float:
        return time.time()

    def boottime(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class Cluster(Protocol):
    """The SECs of one test and the store they share."""

    async def open(self, sec_id: str = "sec-a", *, relist_seconds: float = RELIST_SECONDS) -> ClusterStore:
        """Start a SEC."""
        ...

    async def crash(self, store: SagaStore) -> None:
        """Let a SEC die without a word."""
        ...

    def lose(self, store: SagaStore, what: Lose) -> None:
        """Lose the next request of this SEC, or its answer after it was carried out."""
        ...

    @property
    def parts(self) -> int:
        """How many parts the store has: what is lost of a commit is that of one."""
        ...

    async def end(self) -> None: ...


class MemoryCluster:
    parts = 1

    def __init__(self) -> None:
        self._next = Fault.NONE
        self._backend = MemoryBackend(self._fault)
        self._names: dict[int, str] = {}

    def _fault(self, _method: str) -> Fault:
        fault, self._next = self._next, Fault.NONE
        return fault

    async def open(self, sec_id: str = "sec-a", *, relist_seconds: float = RELIST_SECONDS) -> ClusterStore:
        store = MemoryStore(self._backend, relist_seconds=relist_seconds)
        self._names[await store.open(sec_id=sec_id, address="host:7433", version="1")] = sec_id
        return store

    async def crash(self, store: SagaStore) -> None:
        self._backend.expire(self._names[store.incarnation])

    def lose(self, store: SagaStore, what: Lose) -> None:
        self._next = {Lose.REQUEST: Fault.LOSE_REQUEST, Lose.ANSWER: Fault.LOSE_ANSWER}[what]

    async def end(self) -> None:
        pass


class ShardedMemoryCluster(MemoryCluster):
    """Sagas spread over two stores in memory, as over two etcds."""

    parts = 2

    def __init__(self) -> None:
        super().__init__()
        self._backends = [MemoryBackend(self._fault) for _ in range(self.parts)]

    async def open(self, sec_id: str = "sec-a", *, relist_seconds: float = RELIST_SECONDS) -> ClusterStore:
        parts = [MemoryStore(backend, relist_seconds=relist_seconds) for backend in self._backends]
        store = ShardedStore(parts, BootClock(), relist_seconds=relist_seconds)
        self._names[await store.open(sec_id=sec_id, address="host:7433", version="1")] = sec_id
        return store

    async def crash(self, store: SagaStore) -> None:
        for backend in self._backends:
            backend.expire(self._names[store.incarnation])


class FailingConnection(sqlite3.Connection):
    """SQLite on a disk that fails once, before or after it has what was written."""

    next_fault: ClassVar[Lose] = Lose.NOTHING

    def commit(self) -> None:
        fault, FailingConnection.next_fault = FailingConnection.next_fault, Lose.NOTHING
        if fault is not Lose.REQUEST:
            super().commit()
        if fault is not Lose.NOTHING:
            raise sqlite3.OperationalError("disk I/O error")


class SqliteCluster:
    parts = 1

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._disks = 1
        self._stores: list[SqliteStore] = []

    @property
    def directory(self) -> Path:
        return self._root / f"disk-{self._disks}"

    async def open(self, sec_id: str = "sec-a", *, relist_seconds: float = RELIST_SECONDS) -> ClusterStore:
        connect = partial(sqlite_store.connect, factory=FailingConnection)
        store = SqliteStore(self.directory, connect=connect, relist_seconds=relist_seconds)
        await store.open(sec_id=sec_id, address="host:7433", version="1")
        self._stores.append(store)
        return store

    async def crash(self, store: SagaStore) -> None:
        """What a dead process leaves is what is on its disk: go on with a copy of that."""
        before = self.directory
        self._disks += 1
        shutil.copytree(before, self.directory, ignore=shutil.ignore_patterns("*-shm"))

    def lose(self, store: SagaStore, what: Lose) -> None:
        FailingConnection.next_fault = what

    async def end(self) -> None:
        FailingConnection.next_fault = Lose.NOTHING
        for store in self._stores:
            await store.close()


class EtcdCluster:
    """One etcd, or several that the sagas are spread over."""

    def __init__(self, *servers: EtcdServer) -> None:
        self._servers = servers
        self._stack = AsyncExitStack()
        self._losing: dict[int, Losing] = {}
        self.parts = len(servers)
        self.prefix = f"test-{uuid.uuid4().hex}"

    async def open(self, sec_id: str = "sec-a", *, relist_seconds: float = RELIST_SECONDS) -> ClusterStore:
        losing = Losing()
        stores, options = [], []
        for server in self._servers:
            proxy = await self._stack.enter_async_context(TcpProxy(server.endpoint, losing))
            # A lease so long that no renewal comes in between and is lost in a request's place.
            each = EtcdOptions(
                (proxy.endpoint,),
                prefix=self.prefix,
                lease_seconds=120,
                call_seconds=10.0,
                relist_seconds=relist_seconds,
                is_shard=self.parts > 1,
            )
            options.append(each)
            stores.append(EtcdStore(each, BootClock()))
        store: ClusterStore = stores[0]
        if self.parts > 1:
            store = ShardedStore(
                stores, BootClock(), agree=partial(agree, options, uuid.uuid4().hex), relist_seconds=relist_seconds
            )
        incarnation = await store.open(sec_id=sec_id, address="host:7433", version="1")
        self._stack.push_async_callback(store.close)
        self._losing[incarnation] = losing
        return store

    async def crash(self, store: SagaStore) -> None:
        """Let its leases end, as they would some time after its death."""
        stores = store.parts if isinstance(store, ShardedStore) else [store]
        for server, each in zip(self._servers, stores, strict=True):
            client = independent_client(server.endpoint)
            for _, metadata in client.get_prefix(f"{self.prefix}/sec/"):
                if metadata.create_revision == each.incarnation:
                    client.revoke_lease(metadata.lease_id)
            client.close()

    def lose(self, store: SagaStore, what: Lose) -> None:
        self._losing[store.incarnation].what = what

    async def end(self) -> None:
        await self._stack.aclose()
