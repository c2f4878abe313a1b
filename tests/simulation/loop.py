"""Virtual time: one thread that runs every simulated process, each on an event loop of its own.

`Simulator` owns the time and what is due; nothing ever waits, time jumps to
what is due next. A `ProcessLoop` is what asyncio sees inside one life of one
process. That each has its own has three effects: timers go by the process's
own clock, which may drift; a process is stopped or killed as a whole, by
parking or dropping its loop; and whatever two processes share by mistake is
found by asyncio itself ("attached to a different loop").
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
import heapq
import random
import sys
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

ROUNDS_AT_ONE_INSTANT_MAX = 20_000
"""Rounds of loops without time passing: beyond that something goes round and round."""
TICK = 1e-6
"""Least seconds that a timer which is not due yet takes: two clocks' rounding must not make it spin."""


class BootClock(Protocol):
    """What a loop needs of its host's clock."""

    def boottime(self) -> float:
        """Return seconds that never jump."""
        ...

    def true_time(self, boottime: float) -> float:
        """Return the simulation's time at which the clock shows so much."""
        ...


class Livelock(Exception):
    """Callbacks follow callbacks and no time passes."""


class Timer:
    """Something due at a time; `cancel` makes it nothing."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], None] | None) -> None:
        self.call = call

    def cancel(self) -> None:
        """Don't do it."""
        self.call = None


class Simulator:
    """The time, what is due, and which loops have something to run."""

    def __init__(self, seed: int) -> None:
        """Begin at time 0."""
        self.random = random.Random(seed)
        self.now = 0.0
        self.stopped = False
        self.rounds = 0
        self.on_trouble: Callable[[str], None] = _ignore
        """Called with what a process's loop would have logged as an unhandled error."""
        self.running: ProcessLoop | None = None
        """The thread's running loop, as asyncio believes."""
        self._due: list[tuple[float, int, Timer]] = []
        self._order = 0
        self._runnable: deque[ProcessLoop] = deque()
        self._loops: list[ProcessLoop] = []
        self._graveyard: list[asyncio.Task[Any]] = []

    def at(self, when: float, call: Callable[[], None]) -> Timer:
        """Call something at a time, not before now."""
        timer = Timer(call)
        self._order += 1
        heapq.heappush(self._due, (max(when, self.now), self._order, timer))
        return timer

    def after(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call something after some seconds."""
        return self.at(self.now + seconds, call)

    def add(self, loop: ProcessLoop) -> None:
        """Note a loop, which is killed at the end at the latest."""
        self._loops.append(loop)

    def runnable(self, loop: ProcessLoop) -> None:
        """Note that a loop has something to run."""
        self._runnable.append(loop)

    def bury(self, tasks: set[asyncio.Task[Any]]) -> None:
        """Keep the tasks of a dead process as they are, until the end."""
        self._graveyard.extend(sorted(tasks, key=lambda task: task.get_name()))

    def run(self, until: float, done: Callable[[], bool]) -> bool:
        """Let time pass until something holds, or at most until a time; returns whether it holds.

        Raises:
            Livelock: No time passes any more.
        """
        due, runnable = self._due, self._runnable
        while not self.stopped:
            rounds = 0
            while runnable and not self.stopped:
                runnable.popleft().run_round()
                rounds += 1
                if rounds > ROUNDS_AT_ONE_INSTANT_MAX:
                    raise Livelock(f"{rounds} rounds at time {self.now}")
            self.rounds += rounds
            if done():
                return True
            if not due or due[0][0] > until:
                self.now = until
                return False
            self.now, _, timer = heapq.heappop(due)
            if timer.call is not None:
                timer.call()
        return False

    @contextmanager
    def in_charge(self) -> Iterator[None]:
        """Be the thread's event loop. At the end, whatever is left of all processes is closed."""
        hooks = sys.get_asyncgen_hooks()
        try:
            yield
        finally:
            events._set_running_loop(None)
            self.stopped = True
            for loop in self._loops:
                loop.kill()
            self._loops.clear()
            self._close_tasks()
            sys.set_asyncgen_hooks(*hooks)

    def _close_tasks(self) -> None:
        """Let go of every coroutine. Their `finally` blocks run and find a dead process around them."""
        for task in self._graveyard:
            coroutine = task.get_coro()
            for _ in range(10):
                try:
                    coroutine.close()
                except RuntimeError:
                    continue  # it awaited something while it was closed
                except (Exception, BaseExceptionGroup):  # noqa: BLE001 - nobody is left whom it would tell something
                    pass  # a group: a TaskGroup raises its being closed so
                break
        self._graveyard.clear()


class LoopState(enum.Enum):
    """Where the process of a loop stands."""

    RUNNING = "running"
    PAUSED = "paused"
    DEAD = "dead"


class ProcessLoop(asyncio.BaseEventLoop):
    """The event loop of one life of one process."""

    def __init__(self, sim: Simulator, clock: BootClock) -> None:
        """Make a loop; it runs from now on. Nothing of the base's own state is used."""
        self.sim = sim
        self.state = LoopState.RUNNING
        self.closing: asyncio.Task[None] | None = None
        """Last generator that was let go of and is being closed."""
        self.around: object = None
        """Who lives here: how production code that asks by name finds what is its own."""
        self.resumed_at = -1.0
        """When it went on last after a pause: at this instant it can't know yet that time has passed."""
        self._clock = clock
        self._ready: deque[asyncio.Handle] = deque()
        self._is_queued = False
        self._rounds_left = -1
        self._then: Callable[[], None] = _nothing
        sim.add(self)

    # ---- the world's side

    def run_round(self) -> None:
        """Run what is ready now, once, as an iteration of asyncio's loop does."""
        self._is_queued = False
        if self.state is not LoopState.RUNNING:
            return
        if self._rounds_left >= 0 and self._count_down():
            return
        if self.sim.running is not self:
            self.sim.running = self
            events._set_running_loop(self)
            sys.set_asyncgen_hooks(finalizer=self._finish_generator)
        ready = self._ready
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle._cancelled:
                handle._run()
                if not self.alive:
                    return
        if ready:
            self._queue()

    def _count_down(self) -> bool:
        self._rounds_left -= 1
        if self._rounds_left >= 0:
            return False
        self._then()
        return self.state is not LoopState.RUNNING

    def after_rounds(self, rounds: int, call: Callable[[], None]) -> None:
        """Call something when the loop has gone round so many times more: in the middle of whatever it does then."""
        self._rounds_left, self._then = rounds, call

    def pause(self) -> None:
        """Stop running anything, as SIGSTOP does; what becomes ready waits."""
        if self.state is LoopState.RUNNING:
            self.state = LoopState.PAUSED

    def resume(self) -> None:
        """Go on, as after SIGCONT."""
        if self.state is LoopState.PAUSED:
            self.state = LoopState.RUNNING
            self.resumed_at = self.sim.now
            if self._ready:
                self._queue()

    def kill(self) -> None:
        """Run nothing more, ever."""
        if self.state is LoopState.DEAD:
            return
        self.state = LoopState.DEAD
        tasks = asyncio.all_tasks(self)
        self._ready.clear()
        for task in tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
        self.sim.bury(tasks)

    @property
    def alive(self) -> bool:
        """False once it was killed."""
        return self.state is not LoopState.DEAD

    def _queue(self) -> None:
        if not self._is_queued and self.state is LoopState.RUNNING:
            self._is_queued = True
            self.sim.runnable(self)

    def _finish_generator(self, generator: Any) -> None:
        """Close an asynchronous generator that was let go of, as asyncio's own loop does."""
        if self.alive and not self.sim.stopped:
            self.closing = self.create_task(generator.aclose())

    # ---- asyncio's side

    def time(self) -> float:
        return self._clock.boottime()

    def call_soon(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        if self.state is not LoopState.DEAD:
            self._ready.append(handle)
            self._queue()
        return handle

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock.boottime() + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        true, now = self._clock.true_time(when), self.sim.now
        self.sim.at(max(true, now + TICK) if when > self._clock.boottime() else now, lambda: self._fire(handle))
        return handle

    def _fire(self, handle: asyncio.TimerHandle) -> None:
        if self.state is not LoopState.DEAD and not handle.cancelled():
            self._ready.append(handle)
            self._queue()

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Nothing to do: it is skipped when it is due."""

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: contextvars.Context | None = None,
    ) -> asyncio.Task[T]:
        return asyncio.Task(coro, loop=self, name=None if name is None else str(name), context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if self.state is not LoopState.DEAD and not self.sim.stopped:
            self.sim.on_trouble(f"{context.get('message')}: {context.get('exception')!r}")

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self.state is not LoopState.DEAD

    def is_closed(self) -> bool:
        return self.state is LoopState.DEAD


class SimPolicy(asyncio.DefaultEventLoopPolicy):
    """Gives code that makes a loop of its own the loop of the process that it runs in."""

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()


def _ignore(trouble: str) -> None:
    pass


def _nothing() -> None:
    pass
