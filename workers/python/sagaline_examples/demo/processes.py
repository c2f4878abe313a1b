"""The child processes: started, waited for by what they print, killed, and all of them stopped in the end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0
LINE_BYTES_MAX = 1024 * 1024
LOG_TAIL_LINES = 15


class NotReady(Exception):
    """A process ended, or said nothing, before it was ready."""


class Process:
    """A child process. What it prints goes to a file, line by line.

    It has a session of its own, so that a Ctrl-C in the terminal reaches the demonstration alone, which then stops its
    children in order.
    """

    def __init__(self, name: str, child: asyncio.subprocess.Process, log: Path, marker: str) -> None:
        self.name = name
        self.log = log
        self._child = child
        self._marker = marker.encode()
        self._ready = asyncio.Event()
        self._reader = asyncio.create_task(self._read(), name=f"read {name}")

    @classmethod
    async def start(cls, name: str, command: Sequence[str], folder: Path, marker: str) -> Self:
        """Start a program that is ready when it prints a line with `marker`; an empty one is not waited for."""
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(),
            limit=LINE_BYTES_MAX,
            start_new_session=True,
        )
        return cls(name, child, folder / f"{name}.log", marker)

    @property
    def pid(self) -> int:
        return self._child.pid

    def running(self) -> bool:
        return self._child.returncode is None

    async def ready(self) -> None:
        """Wait until it is ready.

        Raises:
            NotReady: It ended first, or was not ready within 30 s.
        """
        waiting = asyncio.create_task(self._ready.wait())
        done, _ = await asyncio.wait(
            {waiting, self._reader}, timeout=READY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
        )
        waiting.cancel()
        if not self._ready.is_set():
            what = "ended before it was ready" if self._reader in done else f"was not ready within {READY_TIMEOUT_S} s"
            raise NotReady(f"{self.name} {what}\n{self.tail()}")

    async def kill(self) -> None:
        """End it as a power cut would."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end; after 10 s make it."""
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._signal(signal.SIGTERM)
        except TimeoutError:
            await self._signal(signal.SIGKILL)

    def tail(self) -> str:
        """Return the last lines it printed."""
        lines = self.log.read_text(errors="replace").splitlines() if self.log.exists() else []
        return "\n".join(f"  {self.name}: {line}" for line in lines[-LOG_TAIL_LINES:])

    async def _signal(self, number: signal.Signals) -> None:
        if self.running():
            with suppress(ProcessLookupError):
                self._child.send_signal(number)
        await self._child.wait()
        await self._reader

    async def _read(self) -> None:
        assert self._child.stdout is not None
        with self.log.open("ab", buffering=0) as log:
            while line := await self._child.stdout.readline():
                log.write(line)
                if self._marker in line:
                    self._ready.set()


class Processes:
    """All that run; leaving the context stops them, the last started first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Process] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop_all()

    async def start(self, name: str, command: Sequence[str], marker: str = "") -> Process:
        """Start one more."""
        process = await Process.start(name, command, self._folder, marker)
        self._running.append(process)
        return process

    def ended(self) -> list[Process]:
        """Return those that ended although nobody stopped them."""
        return [process for process in self._running if not process.running()]

    def forget(self, process: Process) -> None:
        """No longer count one that was killed on purpose."""
        self._running.remove(process)

    def tails(self) -> str:
        """Return the last lines of each."""
        return "\n".join(process.tail() for process in self._running)

    async def stop_all(self) -> None:
        """Stop all that still run."""
        for process in reversed(self._running):
            await process.stop()
        self._running.clear()


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _environment() -> Mapping[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}
