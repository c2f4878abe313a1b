"""The order of events: start, run, kill, restart, find the stuck saga, mend its cause, resolve it, audit."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live

from sagaline import Client, NewSaga
from sagaline.v1 import log_pb2, saga_pb2
from sagaline_examples.audit import SagaEnd, audit, print_report
from sagaline_examples.demo import plan
from sagaline_examples.demo.board import FINAL, STUCK, Board
from sagaline_examples.demo.processes import Process, Processes, free_port
from sagaline_examples.inventory import Inventory

WORKERS = 2
SLOTS = 4

STATE_TIMEOUT_S = 60.0
"""For each state of affairs that is waited for: many times what it takes."""

OPERATOR = "demo-operator"
REASON = "the backup has let go of the volume"


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen."""

    store: str = "sqlite"
    sagas: int = 40
    etcd: str = ""
    """Path of the etcd binary, where that is the store."""


@dataclass(slots=True)
class Outcome:
    """What was seen, to be judged."""

    sagas: int
    restarts: int = 0
    stuck_seen: int = 0
    retried: int = 0
    ended_before_restart: int = 0
    violations: int = 0
    fallen: list[str] = field(default_factory=list)
    """Processes that ended although nobody stopped them."""
    ends: list[saga_pb2.Saga] = field(default_factory=list)

    def count(self, state: saga_pb2.SagaState.ValueType) -> int:
        """Count the sagas that a SEC says are in this state."""
        return sum(saga.state == state for saga in self.ends)

    def line(self) -> str:
        """Return the line that other programs read."""
        succeeded, unwound = self.count(saga_pb2.SAGA_STATE_SUCCEEDED), self.count(saga_pb2.SAGA_STATE_UNWOUND)
        return (
            f"sagas={self.sagas} succeeded={succeeded} unwound={unwound} stuck={self.count(saga_pb2.SAGA_STATE_STUCK)} "
            f"violations={self.violations} restarts={self.restarts}"
        )

    def problems(self) -> list[str]:
        """Return what is not as it must be; empty: the demonstration showed all it is for."""
        succeeded, unwound = self.count(saga_pb2.SAGA_STATE_SUCCEEDED), self.count(saga_pb2.SAGA_STATE_UNWOUND)
        short = sum(saga.failure.type == "NoCapacity" for saga in self.ends)
        demands = {
            f"{self.violations} violations": self.violations == 0,
            f"{self.sagas} sagas created, {succeeded} succeeded, {unwound} unwound": succeeded + unwound == self.sagas,
            "no saga succeeded": succeeded > 0,
            "no saga found a pool empty": short > 0,
            "no saga was unwound": unwound > 0,
            "no action was tried again": self.retried > 0,
            f"{self.stuck_seen} sagas got stuck, 1 was to": self.stuck_seen == 1,
            f"{self.restarts} restarts, 1 was to be": self.restarts == 1,
            f"ended by themselves: {', '.join(self.fallen)}": not self.fallen,
            "all sagas had ended when the SEC was killed": self.ended_before_restart < self.sagas - 1,
        }
        return [problem for problem, holds in demands.items() if not holds]


class Story:
    """One demonstration.

    Args:
        folder: Where the stores, the inventory and the logs go.
    """

    def __init__(self, options: Options, folder: Path, console: Console) -> None:
        self._options = options
        self._folder = folder
        self._console = console
        self._address = f"127.0.0.1:{free_port()}"
        self._etcd_address = f"127.0.0.1:{free_port()}"
        self._db = folder / "inventory.db"
        self._orders = plan.orders(options.sagas)
        self._board = Board([order.saga_id for order in self._orders], console)
        self._outcome = Outcome(len(self._orders))

    async def tell(self) -> Outcome:
        """Run it from start to end.

        Raises:
            TimeoutError: A state that was waited for did not come.
            NotReady: A process did not start.
        """
        inventory = Inventory(self._db)
        try:
            plan.stock(inventory, self._options.sagas)
            async with Processes(self._folder) as processes:
                try:
                    await self._run(processes, inventory)
                except Exception:
                    self._console.print(processes.tails(), markup=False, highlight=False)
                    raise
        finally:
            inventory.close()
        return self._outcome

    async def _run(self, processes: Processes, inventory: Inventory) -> None:
        sec = await self._start_all(processes)
        async with Client(self._address) as client, asyncio.TaskGroup() as watchers:
            with self._live():
                await self._create(client, watchers)
                await self._kill_and_restart(processes, sec)
                await self._until_all("every saga has ended or is stuck", {*FINAL, STUCK})
                await self._resolve_the_stuck(client, inventory)
                await self._until_all("every saga has ended", FINAL)
        async with Client(self._address) as client:
            self._outcome.ends = [saga async for saga in client.list()]
        self._outcome.fallen = [process.name for process in processes.ended()]
        self._outcome.retried = self._board.counts["retried"]
        report = audit(inventory, map(SagaEnd.of, self._outcome.ends))
        self._outcome.violations = len(report.violations)
        self._console.print()
        print_report(report, self._console)

    # ---- the processes -----------------------------------------------------------------------------------

    async def _start_all(self, processes: Processes) -> Process:
        if self._options.store == "etcd":
            await (await processes.start("etcd", self._etcd_command(), "ready to serve")).ready()
        sec = await self._start_sec(processes)
        for number in range(1, WORKERS + 1):
            await processes.start(f"worker-{number}", self._worker_command())
        self._board.say(f"a SEC on {self._options.store} and {WORKERS} workers are running")
        return sec

    async def _start_sec(self, processes: Processes) -> Process:
        sec = await processes.start("sec", self._sec_command(), "server_ready")
        await sec.ready()
        return sec

    def _sec_command(self) -> list[str]:
        command = [sys.executable, "-m", "sagaline_server", "--sec-id", "demo", "--listen", self._address]
        if self._options.store == "etcd":
            return [*command, "--store", "etcd", "--etcd-endpoints", self._etcd_address]
        return [*command, "--store", "sqlite", "--data-dir", str(self._folder / "sec")]

    def _worker_command(self) -> list[str]:
        module = "sagaline_examples.worker"
        options = ["--address", self._address, "--db", str(self._db), "--slots", str(SLOTS)]
        return [sys.executable, "-m", module, *options]

    def _etcd_command(self) -> list[str]:
        client, peer = f"http://{self._etcd_address}", f"http://127.0.0.1:{free_port()}"
        return [
            self._options.etcd,
            *("--data-dir", str(self._folder / "etcd")),
            *("--listen-client-urls", client, "--advertise-client-urls", client),
            *("--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer),
            *("--initial-cluster", f"default={peer}"),
        ]

    # ---- the events --------------------------------------------------------------------------------------

    async def _create(self, client: Client, watchers: asyncio.TaskGroup) -> None:
        for created in await client.create_many(self._orders):
            if created.error is not None:
                raise created.error
        self._board.say(f"{len(self._orders)} sagas created")
        for order in self._orders:
            watchers.create_task(self._follow(client, order), name=f"watch {order.saga_id}")

    async def _follow(self, client: Client, order: NewSaga[Any]) -> None:
        async for entry in client.watch(order.saga_id):
            self._board.take(order.saga_id, entry)

    async def _kill_and_restart(self, processes: Processes, sec: Process) -> None:
        enough = len(self._orders) // 4
        await self._board.until(lambda board: board.finished() >= enough, f"{enough} ends", STATE_TIMEOUT_S)
        await sec.kill()
        processes.forget(sec)
        self._outcome.ended_before_restart = self._board.finished()
        self._board.say(f"SEC killed (SIGKILL) with {self._unfinished()} sagas unfinished", "bold")
        await self._start_sec(processes)
        self._outcome.restarts += 1
        self._board.say("SEC started again on the same store", "bold")

    async def _resolve_the_stuck(self, client: Client, inventory: Inventory) -> None:
        """Do what an operator would do: list, look, mend the cause, tell the SEC."""
        async for saga in client.list(needs_operator=True):
            self._outcome.stuck_seen += 1
            view = await client.get(saga.saga_id)
            nodes = [node for node in view.nodes if node.status == saga_pb2.NODE_STATUS_UNDO_FAILED]
            for node in nodes:
                self._board.say(f"{saga.saga_id} needs an operator: {node.name}, {node.failure.message}")
                _unlock_volume(inventory, saga.saga_id)
                command = (
                    f'sagaline resolve {saga.saga_id} {node.name} --retry --reason "{REASON}" --address {self._address}'
                )
                self._board.say(f"volume unlocked; now as by: {command}")
                await client.resolve(saga.saga_id, node.name, log_pb2.RESOLUTION_RETRY, actor=OPERATOR, reason=REASON)

    # ---- waiting and showing -----------------------------------------------------------------------------

    async def _until_all(self, what: str, states: set[str]) -> None:
        await self._board.until(
            lambda board: all(line.state in states for line in board.lines.values()), what, STATE_TIMEOUT_S
        )

    def _unfinished(self) -> int:
        return len(self._orders) - self._board.finished()

    @contextmanager
    def _live(self) -> Iterator[None]:
        """Show the counts below the lines on a terminal; elsewhere the lines alone."""
        if not self._console.is_terminal:
            yield
            return
        with Live(self._board, console=self._console, refresh_per_second=8):
            yield


def _unlock_volume(inventory: Inventory, saga: str) -> None:
    with inventory.transaction() as db:
        db.execute("UPDATE volumes SET locked = 0 WHERE saga = ?", (saga,))
