"""What is measured: a store, SECs and a worker as real processes, with what each of them used in a while."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from tests.bench.load import ClosedLoop, Figures, Load, pause
from tests.bench.shapes import Shape
from tests.processes import Process, free_port, running, start, until_serving

SLOTS = 1_000
HISTORY = "1m"
"""How much of its history etcd keeps: an operator bounds it too, and etcd slows down where nobody does."""
SCRAPE_SECONDS = 20.0
POLL_SECONDS = 0.05
INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}
"""What is installed has its bytecode beside it: no process that is measured compiles itself at each start."""
CORES = 2
"""That the targets are set for."""
ENTRIES = "sagaline_log_entries_total"
FINISHED = "sagaline_sagas_finished_total"
ADOPTED = "sagaline_sagas_adopted_total"


class Window(msgspec.Struct, frozen=True):
    """What happened in a while under steady load, its beginning and end left out."""

    seconds: float
    sagas: int
    calls: float
    """Actions and undo actions."""
    latencies: list[float]
    cpu: dict[str, float]
    """Seconds of CPU by process."""
    others: float
    """Cores that the rest of the machine was busy with meanwhile."""

    @property
    def sagas_per_s(self) -> float:
        """Sagas that ended in a second."""
        return self.sagas / self.seconds

    @property
    def calls_per_s(self) -> float:
        """Actions and undo actions in a second."""
        return self.calls / self.seconds

    def cpu_us(self, name: str) -> float:
        """Return the CPU for each call of one kind of process, in microseconds."""
        return sum(used for each, used in self.cpu.items() if each.startswith(name)) / max(self.calls, 1.0) * 1e6

    @property
    def cpu_us_by_part(self) -> dict[str, float]:
        """CPU for each call, in microseconds."""
        parts = {"sec": "sec", "worker": "worker", "client": "client", "store": "etcd"}
        return {part: round(self.cpu_us(name), 1) for part, name in parts.items()}

    @property
    def calls_per_s_of_the_cpu(self) -> float:
        """Actions and undo actions a second if a core were the SEC's alone and all together had two.

        On a machine that others use as well, the nearest thing to what would be measured without them.
        """
        return min(1e6 / max(self.cpu_us("sec"), 0.1), CORES * 1e6 / max(self.cpu_us_in_all, 0.1))

    @property
    def cpu_us_in_all(self) -> float:
        """CPU for each call of everything together, in microseconds."""
        return self.cpu_us("")


class Sec(msgspec.Struct):
    """A SEC process, and where it is reached."""

    address: str
    metrics: str
    command: list[str]
    process: Process

    async def counted(self) -> dict[str, float]:
        """Return its metrics, summed over their labels."""
        host, _, port = self.metrics.rpartition(":")
        async with asyncio.timeout(SCRAPE_SECONDS):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /metrics HTTP/1.0\r\nHost: {host}\r\n\r\n".encode())
            text = (await reader.read()).decode()
            writer.close()
        sums: dict[str, float] = {}
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if line.startswith("sagaline_"):
                name = name.partition("{")[0]
                sums[name] = sums.get(name, 0.0) + float(value)
        return sums


class Stand:
    """A store, SECs, a worker."""

    def __init__(self, store: str, folder: Path, profiles: Path | None = None) -> None:
        self.store = store
        self.folder = folder
        self.endpoints: list[str] = []
        """Of etcd's clusters, where that is the store."""
        self.secs: list[Sec] = []
        self.helpers: list[Process] = []
        self._profiles = profiles

    @property
    def address(self) -> str:
        """Where the first SEC serves."""
        return self.secs[0].address

    async def add_etcd(self, stack: AsyncExitStack) -> None:
        """Start the etcd that is the store, or one more of those that are."""
        number = len(self.endpoints) + 1
        endpoint, etcd = await start_etcd(self.folder / f"etcd-{number}")
        etcd.name = f"etcd-{number}"
        self.endpoints.append(endpoint)
        self.helpers.append(etcd)
        await stack.enter_async_context(running(etcd))

    async def add_sec(self, stack: AsyncExitStack) -> None:
        """Start one more SEC and wait until it serves."""
        number = len(self.secs) + 1
        address, metrics = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        command = [sys.executable, *self._profiled(f"sec-{number}"), "-m", "sagaline_server"]
        command += ["--listen", address, "--metrics-listen", metrics, "--sec-id", f"sec-{number}"]
        command += ["--store", self.store, "--log-level", "error", "--lease-ttl", "5"]
        if self.store == "etcd":
            command += ["--etcd-endpoints", ";".join(self.endpoints)]
        else:
            command += ["--data-dir", str(self.folder / "sqlite")]
        sec = Sec(address, metrics, command, await start(f"sec-{number}", *command, environment=INSTALLED))
        self.secs.append(sec)
        stack.push_async_callback(self._stop, sec)
        await until_serving(address)

    @staticmethod
    async def _stop(sec: Sec) -> None:
        await sec.process.stop()

    async def add_worker(self, stack: AsyncExitStack) -> None:
        """Start the worker, which serves every SEC."""
        addresses = ",".join(sec.address for sec in self.secs)
        profiled = self._profiled("worker")
        command = [sys.executable, *profiled, "-m", "tests.bench.actions", addresses, str(SLOTS)]
        worker = await start("worker", *command, log=self.folder / "worker.log", environment=INSTALLED)
        self.helpers.append(worker)
        await stack.enter_async_context(running(worker))

    def _profiled(self, name: str) -> list[str]:
        return ["-m", "cProfile", "-o", str(self._profiles / f"{name}.prof")] if self._profiles else []

    async def restart(self, sec: Sec) -> float:
        """Kill a SEC as a loss of power would and start it again; returns when that was."""
        await sec.process.kill()
        began = time.perf_counter()
        sec.process = await start(sec.process.name, *sec.command, environment=INSTALLED)
        return began

    async def counted(self) -> dict[str, float]:
        """Return the metrics of all SECs together."""
        sums: dict[str, float] = {}
        for counted in await asyncio.gather(*(sec.counted() for sec in self.secs)):
            for name, value in counted.items():
                sums[name] = sums.get(name, 0.0) + value
        return sums

    async def until(self, metric: str, value: float, seconds: float) -> None:
        """Wait until a metric has reached a value."""
        async with asyncio.timeout(seconds):
            while True:
                with contextlib.suppress(OSError):  # the SEC has only just been started
                    if (await self.counted()).get(metric, 0.0) >= value:
                        return
                await pause(POLL_SECONDS)

    def cpu(self) -> dict[str, float]:
        """Return the CPU that each process has used, and this one, the client."""
        processes = [*(sec.process for sec in self.secs), *self.helpers]
        return {"client": time.process_time(), **{each.name: each.cpu_seconds() for each in processes}}

    async def window(self, loads: Sequence[Load], *, warm_up: float, seconds: float) -> Window:
        """Put load on, and look at a while in the middle of it.

        Actions are counted by the log entries that became durable: long sagas seldom end in it.
        """
        loading = asyncio.gather(*(load.run(warm_up + seconds + SCRAPE_SECONDS) for load in loads))
        await pause(warm_up)
        before, cpu, busy, began = await self.counted(), self.cpu(), busy_seconds(), time.perf_counter()
        await _pass(seconds, loading)
        after, used, ended = await self.counted(), self.cpu(), time.perf_counter()
        for load in loads:
            load.stop()
        await loading
        ours = {name: used[name] - cpu[name] for name in used}
        entries = after[ENTRIES] - before[ENTRIES]
        latencies = [taken for load in loads for at, taken in load.ends if began <= at < ended]
        return Window(
            seconds=ended - began,
            sagas=len(latencies),
            calls=entries / entries_per_call(loads[0].shape),
            latencies=latencies,
            cpu=ours,
            others=max(busy_seconds() - busy - sum(ours.values()), 0.0) / (ended - began),
        )

    async def run(self, shape: Shape, in_flight: int, seconds: float) -> Figures:
        """Run a closed loop for a while, and nothing more."""
        return await ClosedLoop(self.address, shape, in_flight).run(seconds)


async def _pass(seconds: float, loading: asyncio.Future[list[Figures]]) -> None:
    """Let time pass, unless the load ends before, which it does only when it has gone wrong."""
    passing = asyncio.ensure_future(pause(seconds))
    await asyncio.wait((passing, loading), return_when=asyncio.FIRST_COMPLETED)
    await passing


def busy_seconds() -> float:
    """Return the CPU that everything on this machine has used."""
    user, nice, system, _idle, _iowait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def entries_per_call(shape: Shape) -> float:
    """Return the log entries for each action and undo action of a shape."""
    return (2 * shape.calls + shape.other_entries) / shape.calls


@asynccontextmanager
async def stand(store: str, *, secs: int = 1, clusters: int = 1, profiles: Path | None = None) -> AsyncIterator[Stand]:
    """Start everything, and stop it in the end."""
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        made = Stand(store, Path(scratch), profiles)
        async with AsyncExitStack() as stack:
            for _ in range(clusters if store == "etcd" else 0):
                await made.add_etcd(stack)
            for _ in range(secs):
                await made.add_sec(stack)
            await made.add_worker(stack)
            yield made


async def start_etcd(directory: Path) -> tuple[str, Process]:
    """Start a one-member etcd that writes through to the disk; returns its endpoint."""
    binary = os.environ.get("SAGALINE_ETCD", "etcd")
    client, peer = free_port(), free_port()
    endpoint = f"127.0.0.1:{client}"
    process = await start(
        "etcd",
        *(binary, "--name", "bench", "--data-dir", str(directory), "--log-level", "error"),
        *("--listen-client-urls", f"http://{endpoint}", "--advertise-client-urls", f"http://{endpoint}"),
        *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
        *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
        *("--initial-cluster", f"bench=http://127.0.0.1:{peer}"),
        *("--auto-compaction-mode", "periodic", "--auto-compaction-retention", HISTORY),
        log=directory.with_suffix(".log"),
    )
    return endpoint, process
