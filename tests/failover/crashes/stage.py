"""The stage of one crash: SECs on one store, workers inside this process, and four sagas, two of which unwind."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from sagaline import Action, Client, NewSaga, Worker
from sagaline.errors import RpcError, SagalineError
from sagaline.v1 import saga_pb2
from sagaline_examples.audit import SagaEnd, audit
from sagaline_examples.demo.plan import FLIGHT, HOTEL, STATION
from sagaline_examples.inventory import Inventory
from sagaline_examples.provision import actions as provision_actions
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import Trouble as VmTrouble
from sagaline_examples.provision.values import VmRequest
from sagaline_examples.trip import actions as trip_actions
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import TripRequest
from sagaline_examples.trip.values import Trouble as TripTrouble
from sagaline_server.runtime.crashpoints import EXIT_CODE, VARIABLE
from tests.failover.hosts import Host, steady_port
from tests.failover.logs import check_log
from tests.processes import until_serving

DEATH_SECONDS = 90.0
END_SECONDS = 90.0
IMPATIENT_SECONDS = 5.0
SLOTS = 8
TRAVELLER = "grace"
ACTIONS: list[Action[Any, Any]] = [*provision_actions.ACTIONS, *trip_actions.ACTIONS]


@dataclass(frozen=True)
class Case:
    """One crash."""

    scene: str
    point: str
    """Its name, with how often it is passed before: "commit.after:3"."""
    store: str

    @property
    def name(self) -> str:
        """Name for people, and part of ids."""
        return f"{self.store}-{self.scene}-{self.point.replace(':', '-')}"


class Sec(Host):
    """A SEC of a stage."""

    def __init__(self, name: str, address: str, command: Sequence[str], log: Path, point: str) -> None:
        super().__init__(name, command, log, {VARIABLE: point} if point else None)
        self.address = address

    async def start(self) -> None:
        """Start it and wait until it serves."""
        await self.launch()
        await until_serving(self.address)

    async def crashed(self) -> None:
        """Wait until it has come to its point."""
        assert self.process is not None
        code = await self.process.ended(DEATH_SECONDS)
        assert code == EXIT_CODE, f"{self.name} ended with exit code {code}"


class Stage:
    """Everything of one case, in a folder of its own. The stack ends what was started."""

    def __init__(self, case: Case, folder: Path, etcd: str, inventory: Inventory, stack: AsyncExitStack) -> None:
        self.case = case
        self.saga_ids: list[str] = []
        self._folder = folder / case.name
        self._folder.mkdir()
        self._etcd = etcd
        self._inventory = inventory
        self._stack = stack
        self._addresses: dict[str, str] = {}

    # ---- processes

    def sec(self, name: str, *, point: str = "") -> Sec:
        """Return a SEC that is not started. On SQLite all have one directory; each name has an address of its own."""
        address = self._addresses.setdefault(name, f"127.0.0.1:{steady_port()}")
        store = ["--store", "sqlite", "--data-dir", str(self._folder / "data")]
        if self.case.store == "etcd":
            store = ["--store", "etcd", "--etcd-endpoints", self._etcd, "--etcd-prefix", f"/{self.case.name}/"]
        command = [
            *(sys.executable, "-m", "sagaline_server", "--sec-id", name, "--listen", address, *store),
            *("--lease-ttl", "2", "--grace-timeout", "3", "--drain-timeout", "5"),
            *("--heartbeat-interval", "0.5", "--heartbeat-timeout", "2"),
        ]
        sec = Sec(name, address, command, self._folder / f"{name}.log", point)
        self._stack.push_async_callback(sec.end)
        return sec

    def worker(self, sec: Sec) -> None:
        """Run a worker inside this process."""
        worker = Worker(sec.address, actions=ACTIONS, slots=SLOTS, drain_timeout=timedelta(seconds=1))
        task = asyncio.create_task(worker.run(handle_signals=False), name=f"worker of {sec.name}")
        self._stack.push_async_callback(_ended, task)

    def client(self, sec: Sec) -> Client:
        """Return a client of one SEC, which is patient."""
        client = Client(sec.address, timeout_s=END_SECONDS, patience_s=END_SECONDS)
        self._stack.push_async_callback(client.close)
        return client

    # ---- sagas

    def orders(self, *, paused: bool = False) -> list[NewSaga[Any]]:
        """Return the sagas of this case: always the same."""
        name = self.case.name
        return [
            NewSaga(TRIP, _trip(TripTrouble.SLOW), saga_id=f"{name}-slow-trip", start_paused=paused),
            NewSaga(TRIP, _trip(TripTrouble.CONFIRM_FAILS), saga_id=f"{name}-failing-trip", start_paused=paused),
            NewSaga(PROVISION, _vm(name, VmTrouble.VOLUME_FLAKY), saga_id=f"{name}-flaky-vm", start_paused=paused),
            NewSaga(PROVISION, _vm(name, VmTrouble.BOOT_FAILS), saga_id=f"{name}-failing-vm", start_paused=paused),
        ]

    async def create(self, sec: Sec, *, paused: bool = False) -> None:
        """Create the sagas, or find that they are there."""
        orders = self.orders(paused=paused)
        self.saga_ids = [order.saga_id for order in orders]
        for created in await self.client(sec).create_many(orders):
            if created.error is not None:
                raise created.error

    async def try_to_create(self, sec: Sec) -> None:
        """Create the sagas at a SEC that may die meanwhile; whoever takes its place is asked again."""
        async with _impatient(sec) as client:
            await client.create_many(self.orders())

    async def try_to_hand_off(self, sec: Sec, to: str) -> None:
        """Hand every saga off, as far as that goes before one of the two SECs dies."""
        async with _impatient(sec) as client:
            for saga_id in self.saga_ids:
                await client.hand_off(saga_id, to_sec_id=to)

    async def try_to_unwind(self, sec: Sec, saga_id: str) -> None:
        """Unwind a saga, asking a SEC that may die meanwhile."""
        async with _impatient(sec) as client:
            await client.unwind(saga_id, actor="test")

    # ---- the end

    async def judge(self, sec: Sec) -> None:
        """Wait for the end of every saga, and look at what each has left: all, or nothing, and a legal log."""
        client = self.client(sec)
        ended = []
        for saga_id in self.saga_ids:
            try:
                ended.append(await client.wait(saga_id, wait_s=END_SECONDS))
            except SagalineError as error:
                raise AssertionError(f"{saga_id} does not end: {error}") from error
        problems = [problem for saga_id in self.saga_ids for problem in await check_log(client, saga_id)]
        report = audit(self._inventory, map(SagaEnd.of, ended))
        problems += [str(violation) for violation in report.violations if violation.subject in self.saga_ids]
        for saga in ended:
            wanted = saga_pb2.SAGA_STATE_UNWOUND if "-failing-" in saga.saga_id else saga_pb2.SAGA_STATE_SUCCEEDED
            if saga.state != wanted:
                problems.append(f"{saga.saga_id} is {saga_pb2.SagaState.Name(saga.state)}: {saga.failure}")
        assert not problems, "\n".join(problems)


def _trip(trouble: TripTrouble) -> TripRequest:
    return TripRequest(TRAVELLER, TRAVELLER, HOTEL, FLIGHT, STATION, trouble=trouble)


def _vm(name: str, trouble: VmTrouble) -> VmRequest:
    return VmRequest(name, trouble=trouble)


@asynccontextmanager
async def _impatient(sec: Sec) -> AsyncIterator[Client]:
    """A client that gives up when the SEC dies; so does the block."""
    async with Client(sec.address, timeout_s=IMPATIENT_SECONDS, patience_s=0.1) as client:
        with suppress(RpcError):
            yield client


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
