"""A flag that is set once and can be waited for from threads and from event loops alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from contextlib import suppress

_LOCK = threading.Lock()
"""One for all latches: it is held for a few instructions, and a worker makes a latch for every attempt."""


class Latch:
    """Set once, for ever. `if latch:` asks; `latch.wait(timeout)` waits in a thread, `await latch` in a coroutine."""

    __slots__ = ("_set", "_waiters")

    def __init__(self) -> None:
        self._set = False
        self._waiters: list[Callable[[], None]] | None = None

    def __bool__(self) -> bool:
        return self._set

    def is_set(self) -> bool:
        """Whether it is set."""
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Block this thread until it is set or `timeout` seconds are over; not in an event loop.

        Returns:
            Whether it is set.
        """
        if not self._set and timeout != 0:
            event = threading.Event()
            self._add(event.set)
            event.wait(timeout)
            self._remove(event.set)
        return self._set

    def __await__(self) -> Generator[object, None, None]:
        return self._wait_async().__await__()

    async def _wait_async(self) -> None:
        if self._set:
            return
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()

        def resolve() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits there any more
                loop.call_soon_threadsafe(resolve)

        self._add(wake)
        try:
            await future
        finally:
            self._remove(wake)

    def set(self) -> None:
        """Set it and wake all who wait. From any thread, also again."""
        with _LOCK:
            self._set = True
            waiters, self._waiters = self._waiters, None
        for wake in waiters or ():
            wake()

    def _add(self, wake: Callable[[], None]) -> None:
        with _LOCK:
            if not self._set:
                self._waiters = [*(self._waiters or ()), wake]
                return
        wake()

    def _remove(self, wake: Callable[[], None]) -> None:
        with _LOCK:
            if self._waiters is not None and wake in self._waiters:
                self._waiters.remove(wake)
