"""`make bench`: one JSON line for each figure."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.load import ClosedLoop, linear
from tests.processes import Process, free_port, running, start, until_serving

ACTIONS_A_SAGA = 3


async def linear3(store: str, in_flight: int, seconds: float) -> dict[str, object]:
    """Measure three-action linear sagas on one SEC, one worker process and one client."""
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        address = f"127.0.0.1:{free_port()}"
        processes: list[Process] = []
        settings = ["--listen", address, "--store", store, "--log-level", "warning"]
        if store == "etcd":
            endpoint, etcd = await start_etcd(Path(scratch) / "etcd")
            processes.append(etcd)
            settings += ["--etcd-endpoints", endpoint]
        else:
            settings += ["--data-dir", str(Path(scratch) / "sqlite")]
        async with running(*processes):
            sec = await start("sec", sys.executable, "-m", "sagaline_server", *settings)
            async with running(sec):
                await until_serving(address)
                worker = await start("worker", sys.executable, "-m", "tests.bench.actions", address, "1000")
                async with running(worker):
                    loop = ClosedLoop(address, linear(ACTIONS_A_SAGA), in_flight)
                    await loop.run(min(seconds, 2.0))
                    return await measure(loop, seconds, in_flight, store, [*processes, sec, worker])


async def measure(
    loop: ClosedLoop, seconds: float, in_flight: int, store: str, processes: list[Process]
) -> dict[str, object]:
    """Run the loop once and return its line."""
    before = {process.name: process.cpu_seconds() for process in processes}
    client_before = time.process_time()
    figures = await loop.run(seconds)
    actions = figures.sagas * ACTIONS_A_SAGA
    cpu = {process.name: process.cpu_seconds() - before[process.name] for process in processes}
    cpu["client"] = time.process_time() - client_before
    return {
        "bench": "linear3",
        "store": store,
        "sagas_per_s": round(figures.sagas / figures.seconds, 1),
        "actions_per_s": round(actions / figures.seconds, 1),
        "p50_ms": round(figures.quantile_ms(0.50), 2),
        "p99_ms": round(figures.quantile_ms(0.99), 2),
        "in_flight": in_flight,
        "secs": 1,
        "cpu_us_per_action": {
            "sec": round(cpu["sec"] / actions * 1e6, 1),
            "worker": round(cpu["worker"] / actions * 1e6, 1),
            "client": round(cpu["client"] / actions * 1e6, 1),
            "store": round(cpu.get("etcd", 0.0) / actions * 1e6, 1),
        },
    }


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
    )
    return endpoint, process


def main() -> None:
    """Run the benchmarks that were asked for."""
    parser = argparse.ArgumentParser(prog="make bench")
    parser.add_argument("--store", choices=["sqlite", "etcd"], action="append")
    parser.add_argument("--in-flight", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=8.0)
    given = parser.parse_args()
    for store in given.store or ["sqlite", "etcd"]:
        for in_flight in given.in_flight or [256, 1]:
            line = asyncio.run(linear3(store, in_flight, given.seconds))
            sys.stdout.write(json.dumps(line) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
