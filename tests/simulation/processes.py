"""Simulated hosts and the processes on them, one life after another."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.clocks import SimClock
from tests.simulation.loop import ProcessLoop, Simulator


def told(error: BaseException) -> str:
    """Return what an error says, and the errors inside it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(inner) for inner in error.exceptions)
    return "".join(traceback.format_exception(error)[-3:])


class Process:
    """One life of one process: whatever it holds in memory dies with it."""

    def __init__(self, sim: Simulator, host: Host, life: int) -> None:
        """Start a process; it does nothing by itself."""
        self.host = host
        self.life = life
        self.name = f"{host.name}#{life}"
        self.loop = ProcessLoop(sim, host.clock)
        self.on_death: list[Callable[[], None]] = []
        """What notices when it dies: its connections."""
        self.methods: dict[str, Any] = {}
        """What it serves to other processes, by name; nothing until it listens."""

    @property
    def alive(self) -> bool:
        """False once it was killed."""
        return self.loop.alive

    def start(self, main: Coroutine[Any, Any, None]) -> None:
        """Run something in the process; that it fails is trouble."""
        self.loop.create_task(main, name=f"{self.name} main").add_done_callback(self._check)

    def _check(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            error = task.exception()
            assert error is not None
            self.loop.sim.on_trouble(f"{task.get_name()}: {told(error)}")

    def kill(self) -> None:
        """End it without a word, as SIGKILL does."""
        if self.alive:
            self.loop.kill()
            dying, self.on_death = self.on_death, []
            for notice in dying:
                notice()


class Host:
    """A machine with a clock and at most one process."""

    def __init__(self, sim: Simulator, name: str, clock: SimClock) -> None:
        """Make a host without a process."""
        self.name = name
        self.clock = clock
        self.process: Process | None = None
        self._sim = sim
        self._lives = 0

    def boot(self) -> Process:
        """Start the next life."""
        assert self.process is None or not self.process.alive
        self._lives += 1
        self.process = Process(self._sim, self, self._lives)
        return self.process

    def kill(self) -> None:
        """Kill the process, if there is one."""
        if self.process is not None:
            self.process.kill()

    @property
    def up(self) -> bool:
        """True while a process lives here, stopped or not."""
        return self.process is not None and self.process.alive
