"""An event loop on virtual time: when nothing is left to run but timers, it is at once the time of the first of them.

Time stands still while something outside runs that the loop can't see the end of: a function in a thread. While a
coroutine of the user's waits for something that is no timer, a socket perhaps, the loop waits a moment for it, in real
time, before it lets virtual time pass.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from asyncio import futures
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

SETTLE_SECONDS = 0.05
"""Real time that a coroutine gets for what it waits for, before virtual time passes."""
THREAD_SECONDS = 60.0
"""Real time that a function in a thread may take."""
SLEEP_ENDS = futures._set_result_unless_cancelled  # type: ignore[attr-defined] # noqa: SLF001
"""What the timers of `asyncio.sleep` call: who awaits one of these awaits nothing but time."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """The loop. `time()` is virtual, and begins at 0."""

    def __init__(self) -> None:
        self._now = 0.0
        self._jobs = 0
        self._sleeps: set[asyncio.TimerHandle] = set()
        self.coroutines = 0
        """Coroutines of the user's that run."""
        self.threads = 0
        """Functions of the user's that run in threads of others than this loop's own."""
        self.on_idle: Callable[[], None] = _nothing
        """Called when nothing will ever happen by itself any more."""
        self.on_stall: Callable[[], None] = _nothing
        """Called when a function in a thread has taken too long."""
        super().__init__(_Selector(self._wait, self._pass))

    def time(self) -> float:
        """Return virtual seconds."""
        return self._now

    def _pass(self, seconds: float | None) -> None:
        """Let virtual time pass; None: there is no timer to pass it for."""
        if self._jobs or self.threads:
            self.on_stall()
        elif seconds is None:
            self.on_idle()
        else:
            self._now += seconds

    def _wait(self) -> float:
        """Return how long to wait for the world outside, in real seconds."""
        if self._jobs or self.threads:
            return THREAD_SECONDS
        if not self.coroutines:
            return 0.0
        self._sleeps = {handle for handle in self._sleeps if not handle.cancelled()}
        return 0.0 if len(self._sleeps) >= self.coroutines else SETTLE_SECONDS

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """Call something at a virtual time."""
        handle = super().call_at(when, callback, *args, context=context)
        if callback is SLEEP_ENDS:
            self._sleeps.add(handle)
        return handle

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Run something in a thread; virtual time stands still meanwhile."""
        future = super().run_in_executor(executor, func, *args)
        self._jobs += 1
        future.add_done_callback(self._job_done)
        return future

    async def end_threads(self) -> None:
        """Wait for the threads of the loop itself to end."""
        self._jobs += 1
        await self.shutdown_default_executor()
        self._jobs -= 1

    def _job_done(self, _future: asyncio.Future[Any]) -> None:
        self._jobs -= 1


class _Selector(selectors.DefaultSelector):
    """Waits in real time as long as it is told to, and lets virtual time pass instead of waiting for a timer."""

    def __init__(self, wait: Callable[[], float], let_pass: Callable[[float | None], None]) -> None:
        super().__init__()
        self._wait = wait
        self._let_pass = let_pass

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for what is registered."""
        if timeout is not None and timeout <= 0:
            return super().select(0)
        ready = super().select(self._wait())
        if not ready:
            self._let_pass(timeout)
        return ready


def _nothing() -> None:
    pass
