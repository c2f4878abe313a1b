"""SECs in processes of their own, whose log lines tests read and wait for."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

SECONDS = 60.0
"""What is waited for comes in a second or two; on a machine with twenty times its load it must not fail."""
SERVER = (sys.executable, "-m", "sagaline_server")
CLI = (sys.executable, "-c", "import sys; from sagaline.cli.main import main; sys.exit(main())")
"""`sagaline` of this environment, wherever it is installed."""
ANY_PORT = "127.0.0.1:0"

PATH = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
"""Where programs are looked for: first beside this Python."""

Line = dict[str, Any]


class LoggedProcess:
    """A process whose standard error is read as it comes: log lines in JSON, and whatever else it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[Line] = []
        self.words: list[str] = []
        """Lines that are no JSON."""
        self._more = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stderr is not None
        async for raw in self._process.stderr:
            line = raw.decode(errors="replace").rstrip("\n")
            if line.startswith("{"):
                self.lines.append(json.loads(line))
            else:
                self.words.append(line)
            self._more.set()

    async def logged(self, event: str) -> Line:
        """Wait for a log line of an event, and return it."""
        return await self._until(lambda: next((line for line in self.lines if line["event"] == event), None))

    async def _until(self, find: Callable[[], Line | None]) -> Line:
        async with asyncio.timeout(SECONDS):
            while (found := find()) is None:
                assert not self._reader.done(), f"the process ended: {self.words}"
                self._more.clear()
                await self._more.wait()
        return found

    async def address(self) -> str:
        """Wait until it serves, and return where."""
        found: str = (await self.logged("server_ready"))["address"]
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def ended(self) -> int:
        """Wait until it has ended; returns its exit code."""
        async with asyncio.timeout(SECONDS):
            code = await self._process.wait()
            await self._reader
        return code

    async def stop(self) -> None:
        """End it, whatever it is doing."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


def _environment(added: Mapping[str, str] | None) -> dict[str, str]:
    """Return this environment without Sagaline's variables and with `sagaline` on the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SAGALINE_")}
    return kept | {"PATH": PATH} | dict(added or {})


@asynccontextmanager
async def started(
    *command: str, environment: Mapping[str, str] | None = None, directory: Path | None = None
) -> AsyncIterator[LoggedProcess]:
    """Run a command for as long as the context lasts."""
    process = LoggedProcess(
        await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=_environment(environment),
            cwd=directory,
        )
    )
    try:
        yield process
    finally:
        await process.stop()


async def run(
    *command: str,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    seconds: float = SECONDS,
) -> tuple[int, str, str]:
    """Run a command to its end; returns exit code, standard output and standard error."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(environment),
        cwd=directory,
    )
    async with asyncio.timeout(seconds):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
