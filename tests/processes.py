"""Real processes for tests and benchmarks: SECs, workers, an etcd, with the CPU that each has used."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

READY_SECONDS = 120.0
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Process:
    """A child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the CPU that it has used so far, in user and system time."""
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / _TICKS
        return 0.0

    def resident_bytes(self) -> int:
        """Return the memory that it holds now."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * _PAGE

    @property
    def running(self) -> bool:
        """True until it has ended."""
        return self._process.returncode is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self, seconds: float = 15.0) -> int:
        """Wait until it has ended; returns its exit code, negative for a signal."""
        return await asyncio.wait_for(self._process.wait(), seconds)

    async def kill(self) -> None:
        """End it as a loss of power would."""
        if self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def stop(self) -> None:
        """End it."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), 15)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


async def start(
    name: str, *command: str, log: Path | None = None, environment: Mapping[str, str] | None = None
) -> Process:
    """Start a child.

    Args:
        name: For people.
        command: What to run.
        log: File that its output is added to. None: it goes to this process's standard error.
        environment: Variables besides those of this process.
    """
    with contextlib.ExitStack() as open_files:
        output = sys.stderr if log is None else open_files.enter_context(log.open("ab"))
        process = await asyncio.create_subprocess_exec(
            *command, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
    return Process(name, process)


EAGER = [(f"grpc.{which}_reconnect_backoff_ms", 100) for which in ("initial", "min", "max")]
"""A SEC that is being started refuses connections: by default the second try would come after a second, the third two
later, and whoever waits, or measures, would hear of it that much too late."""


async def until_serving(address: str) -> None:
    """Wait until the health service of a SEC says SERVING."""
    async with asyncio.timeout(READY_SECONDS), grpc.aio.insecure_channel(address, EAGER) as channel:
        await channel.channel_ready()
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        async for answer in watch:
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                watch.cancel()
                return


def free_port() -> int:
    """Return a port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.asynccontextmanager
async def running(*processes: Process) -> AsyncIterator[None]:
    """Stop the processes in the end, the last one first."""
    try:
        yield
    finally:
        for process in reversed(processes):
            await process.stop()
