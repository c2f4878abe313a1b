"""Threads for synchronous user code: as many as are needed at the same time, up to a bound, and kept for reuse.

Unlike those of `concurrent.futures` they are daemons: user code that never returns can't keep the process from
ending; and a call costs no future.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

Call = Callable[[], None]


class Threads:
    """Runs calls. Calls must not raise: whatever they have to say they say elsewhere."""

    def __init__(self, count_max: int, name: str) -> None:
        self._count_max = count_max
        self._name = name
        self._calls: SimpleQueue[Call | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._closed = False

    def run(self, call: Call) -> bool:
        """Run a call in a thread that is free, or in a new one, or when one gets free. From one thread only.

        Returns:
            False if no thread could be had: the call will not run.
        """
        if self._closed:
            return False
        if not self._idle.acquire(blocking=False) and not self._grow():
            return False
        self._calls.put(call)
        return True

    def close(self, timeout: float) -> int:
        """End the threads that are idle, or get idle within `timeout` seconds.

        Returns:
            How many still run user code, and are left behind.
        """
        self._closed = True
        until = time.monotonic() + timeout
        for _ in self._threads:
            self._calls.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def _grow(self) -> bool:
        """Add a thread if the bound and the system allow it. True if there is any to wait for."""
        if len(self._threads) < self._count_max:
            name = f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=self._work, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: those that there are must do
                return bool(self._threads)
            self._threads.append(thread)
        return True

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get_nowait()
            except Empty:
                self._idle.release()
                call = self._calls.get()
            if call is None:
                return
            call()
