"""A whole site of real processes: three etcd members, three SECs, workers, and an inventory that they all change.

Between them are proxies, so that a test can do to each connection what a
network might. Nothing here decides what goes wrong: that is the schedule's.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import grpc
from aetcd import rpc

from sagaline_server.store.etcd.keys import Keys, after_all
from tests.etcd_server import EtcdCluster, EtcdServer
from tests.failover.hosts import Host, SecHost, SecSettings, make_sec, make_worker

PREFIX = "/failover/"
HEAL_SECONDS = 60.0
SLOTS = 8
CALL_SECONDS = 10.0


class Site:
    """All processes of one run; entering it starts them, and leaving it ends them, whatever was done to them."""

    def __init__(
        self,
        folder: Path,
        *,
        secs: int = 3,
        workers: int = 3,
        members: int = 3,
        slots: int = SLOTS,
        proxied: bool = True,
        settings: SecSettings | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.database = folder / "inventory.db"
        self.root = f"{PREFIX.strip('/')}/".encode()
        """What all keys start with."""
        self.keys = Keys(PREFIX)
        self.settings = settings or SecSettings(PREFIX)
        self.etcd = EtcdCluster(folder / "etcd", size=members)
        self.etcd_lock = asyncio.Lock()
        """Held by who does something to a member."""
        self.secs: list[SecHost] = []
        self.workers: list[Host] = []
        self._sec_count = secs
        self._worker_count = workers
        self._slots = slots
        self._proxied = proxied
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            stack.callback(self.etcd.kill)
            await asyncio.to_thread(self.etcd.start)
            for number in range(self._sec_count):
                await self.add_sec(f"sec-{number + 1}", stack)
            await self._start_secs()
            for number in range(self._worker_count):
                await self.add_worker(f"worker-{number + 1}", self._example_worker(number), stack=stack)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # ---- processes

    async def add_sec(self, sec_id: str, stack: AsyncExitStack | None = None) -> SecHost:
        """Add one more SEC; it is not started."""
        sec = await make_sec(
            stack or self._stack, sec_id, self.folder, self.settings, self.etcd.endpoints, proxied=self._proxied
        )
        self.secs.append(sec)
        return sec

    async def add_worker(
        self,
        name: str,
        command: list[str],
        environment: dict[str, str] | None = None,
        stack: AsyncExitStack | None = None,
    ) -> Host:
        """Start one more worker."""
        worker = make_worker(stack or self._stack, name, self.folder, command, environment)
        await worker.launch()
        self.workers.append(worker)
        return worker

    async def _start_secs(self) -> None:
        for sec in self.secs:
            await sec.launch()
        await asyncio.gather(*(sec.until_serving() for sec in self.secs))

    def _example_worker(self, number: int) -> list[str]:
        addresses = [sec.worker_address for sec in (*self.secs[number:], *self.secs[:number])]
        return ["-m", "tests.failover.worker", ",".join(addresses), str(self.database), str(self._slots)]

    async def heal(self) -> None:
        """End every fault: connections carry, every process runs, every SEC serves.

        Raises:
            TimeoutError: They don't.
        """
        for sec in self.secs:
            if sec.links is not None:
                for proxy in sec.links.all():
                    proxy.heal()
        async with asyncio.timeout(HEAL_SECONDS):
            for member in self.etcd.members:
                if member.is_running:
                    member.resume()
            await asyncio.to_thread(self.etcd.start)
            for host in (*self.secs, *self.workers):
                await host.revive()
            await asyncio.gather(*(sec.until_serving() for sec in self.secs))

    # ---- etcd, by hand

    def channel(self) -> grpc.aio.Channel:
        """Open a channel to a member that runs."""
        member = next(member for member in self.etcd.members if member.is_running)
        return grpc.aio.insecure_channel(member.endpoint, options=[("grpc.max_receive_message_length", -1)])

    async def revoke_lease(self, sec: SecHost) -> bool:
        """End a SEC's lease by hand; False when it has none."""
        async with self.channel() as channel:
            key = self.keys.sec(sec.name)
            answer: Any = await rpc.KVStub(channel).Range(rpc.RangeRequest(key=key), timeout=CALL_SECONDS)
            if not answer.kvs:
                return False
            request = rpc.LeaseRevokeRequest(ID=answer.kvs[0].lease)
            await rpc.LeaseStub(channel).LeaseRevoke(request, timeout=CALL_SECONDS)
            return True

    async def keys_under(self, *roots: bytes) -> list[str]:
        """Return the keys that start so."""
        found: list[str] = []
        async with self.channel() as channel:
            for root in roots:
                request = rpc.RangeRequest(key=root, range_end=after_all(root), keys_only=True)
                answer: Any = await rpc.KVStub(channel).Range(request, timeout=CALL_SECONDS)
                found += [kv.key.decode() for kv in answer.kvs]
        return found

    async def leader(self) -> EtcdServer:
        """Return the member of etcd that leads."""
        return await asyncio.to_thread(self.etcd.leader)
