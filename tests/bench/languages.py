"""`make bench LANG=all`: an action that does nothing, in each language, against the same SEC. One JSON line for each.

The workers are those of the conformance kit, whose action `echo` returns its input; the two lines that it writes for
the kit go to /dev/null, in every language alike.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from sagaline_conformance.languages import languages
from tests.bench.load import ClosedLoop, Figures
from tests.bench.shapes import Shape, linear
from tests.processes import Process, free_port, running, start, until_serving

ROOT = Path(__file__).resolve().parents[2]
ACTION = "echo"
ACTIONS_A_SAGA = 3
SLOTS = 1000


def environment(address: str, scratch: Path) -> Mapping[str, str]:
    """What a conformance worker is given."""
    return {
        "SAGALINE_ADDRESS": address,
        "SAGALINE_SLOTS": str(SLOTS),
        "SAGALINE_DRAIN_SECONDS": "2",
        "SAGALINE_BUILD_ID": "bench",
        "SAGALINE_EFFECTS": "/dev/null",
        "SAGALINE_GATES": str(scratch),
    }


def row(nodes: int) -> Shape:
    """Actions in a row that return what they get."""
    shape = linear(nodes)
    for node in shape.graph.nodes:
        node.action.action = ACTION
    return shape


async def measure(
    sec: Process, worker: Process, address: str, nodes: int, in_flight: int, seconds: float
) -> tuple[Figures, dict[str, float]]:
    """Run sagas of so many actions in a row; returns the figures, and each side's CPU microseconds an action."""
    loop = ClosedLoop(address, row(nodes), in_flight)
    await loop.run(min(seconds, 2.0))
    before = {side: process.cpu_seconds() for side, process in (("sec", sec), ("worker", worker))}
    figures = await loop.run(seconds)
    spent = {side: process.cpu_seconds() - before[side] for side, process in (("sec", sec), ("worker", worker))}
    return figures, {side: round(cpu / (figures.sagas * nodes) * 1e6, 1) for side, cpu in spent.items()}


async def bench(language: str, command: Sequence[str], in_flight: int, seconds: float) -> dict[str, object]:
    """Measure one language: throughput with many sagas in flight, latency of one action with one."""
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as folder:
        scratch, address = Path(folder), f"127.0.0.1:{free_port()}"
        settings = ["--listen", address, "--store", "sqlite", "--data-dir", folder, "--log-level", "warning"]
        sec = await start("sec", sys.executable, "-m", "sagaline_server", *settings)
        async with running(sec):
            await until_serving(address)
            worker = await start(
                "worker", *command, log=scratch / "worker.log", environment=environment(address, scratch)
            )
            async with running(worker):
                many, cpu = await measure(sec, worker, address, ACTIONS_A_SAGA, in_flight, seconds)
                one, _ = await measure(sec, worker, address, 1, 1, seconds)
    return {
        "bench": "noop",
        "language": language,
        "store": "sqlite",
        "actions_per_s": round(many.sagas * ACTIONS_A_SAGA / many.seconds, 1),
        "in_flight": in_flight,
        "p50_ms": round(one.quantile_ms(0.50), 2),
        "p99_ms": round(one.quantile_ms(0.99), 2),
        "cpu_us_per_action": cpu,
    }


def main() -> int:
    """Return 0 only if every language was measured."""
    parser = argparse.ArgumentParser(prog="make bench LANG=…")
    parser.add_argument("--language", default="all", help="as in tests/conformance/languages.toml; with commas")
    parser.add_argument("--in-flight", type=int, default=256)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    missing = 0
    for language in languages(ROOT, options.language):
        problem = language.missing() or language.make(ROOT)
        if problem:
            missing += 1
            print(json.dumps({"bench": "noop", "language": language.name, "missing": problem[:400]}), flush=True)
            continue
        line = asyncio.run(bench(language.name, language.command(ROOT), options.in_flight, options.seconds))
        print(json.dumps(line), flush=True)
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
