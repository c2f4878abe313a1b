"""Runs the programs of a peer, and takes the CPU of all of its processes while its load is steady."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from tests.bench.peers.getting import ROOT
from tests.bench.stand import busy_seconds
from tests.processes import Process, running, start

CALLS = 3
"""Actions of each saga."""
LOAD_SECONDS = 180.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Load(msgspec.Struct, frozen=True):
    """How much is put on, and for how long it is looked at."""

    in_flight: int
    seconds: float


class Measured(msgspec.Struct, frozen=True):
    """What came of a load."""

    sagas_per_s: float
    details: dict[str, Any]


def module(name: str) -> tuple[str, ...]:
    """Return the arguments of a Python that runs a program of the peers."""
    return ("-m", f"tests.bench.peers.programs.{name}")


ENVIRONMENT = {"PYTHONPATH": str(ROOT)}
"""Of programs on the scratch environment: they find each other, and none of Sagaline's packages."""


@contextlib.asynccontextmanager
async def started(
    name: str, *command: str, log: Path, environment: Mapping[str, str] | None = None
) -> AsyncIterator[Process]:
    """Run a part of a peer for as long as the context lasts."""
    process = await start(name, *command, log=log, environment=environment)
    async with running(process):
        yield process


def tree_cpu_seconds(root: int) -> float:
    """Return the CPU that a process, its children, and theirs have used, those that have ended included."""
    parents: dict[int, int] = {}
    used: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(map(int, fields[11:15])) / _TICKS
    total = 0.0
    for pid, seconds in used.items():
        above = pid
        while above not in (root, 0, 1) and above in parents:
            above = parents[above]
        total += seconds if above == root else 0.0
    return total


async def measured(parts: Mapping[str, int], *command: str) -> Measured:
    """Run the load of a peer to its end.

    Args:
        parts: Process ids of what runs beside the load, by what they are.
        command: The load: it says when its window begins, and its figures when that ends.
    """
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, env={**os.environ, **ENVIRONMENT}
    )
    assert process.stdout is not None
    everything = {**parts, "load": process.pid}
    try:
        async with asyncio.timeout(LOAD_SECONDS):
            await _line(process.stdout)
            before, busy = _used(everything), busy_seconds()
            figures = await _line(process.stdout)
            after, busy = _used(everything), busy_seconds() - busy
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    calls = max(figures["sagas"], 1) * CALLS
    ours = {name: after[name] - before[name] for name in everything}
    return Measured(
        figures["sagas"] / figures["seconds"],
        {
            "p50_ms": figures["p50_ms"],
            "p99_ms": figures["p99_ms"],
            "cpu_us_per_action": {name: round(used / calls * 1e6, 1) for name, used in ours.items()},
            "cores_used_by_others": round(max(busy - sum(ours.values()), 0.0) / figures["seconds"], 2),
        },
    )


async def _line(output: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next line of a load's figures; what others print there is passed over.

    Raises:
        RuntimeError: It ended without one.
    """
    async for line in output:
        if line.startswith(b"{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise RuntimeError("the load ended before its figures; standard error says why")


def _used(parts: Mapping[str, int]) -> dict[str, float]:
    return {name: tree_cpu_seconds(pid) for name, pid in parts.items()}
