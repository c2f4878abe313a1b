"""Timers of all sagas in one heap, with one timer of the loop for the earliest."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from sagaline_server.ports.clock import Clock

DEADLINE = -1
"""In place of a node: the saga's deadline."""


class Timers:
    """Due times by saga and node. One that is no longer wanted fires all the same and finds nothing to do."""

    def __init__(self, clock: Clock, on_due: Callable[[str, int], None]) -> None:
        """Make an empty heap; `on_due` is called with saga and node."""
        self._clock = clock
        self._on_due = on_due
        self._heap: list[tuple[float, int, str, int]] = []
        self._order = itertools.count()
        self._handle: asyncio.TimerHandle | None = None
        self._handle_due = 0.0

    def add(self, saga_id: str, node: int, due: float) -> None:
        """Fire at a time in seconds since 1970; at once if that has passed."""
        # On the clock that never jumps from here on: a wall clock set back must not stretch a backoff.
        at = self._clock.boottime() + max(due - self._clock.wall(), 0.0)
        heapq.heappush(self._heap, (at, next(self._order), saga_id, node))
        if self._handle is None or at < self._handle_due:
            self._arm()

    def clear(self) -> None:
        """Drop all timers."""
        self._heap.clear()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _arm(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        if self._heap:
            self._handle_due = self._heap[0][0]
            delay = max(self._handle_due - self._clock.boottime(), 0.0)
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._handle = None
        now = self._clock.boottime()
        while self._heap and self._heap[0][0] <= now:
            _, _, saga_id, node = heapq.heappop(self._heap)
            self._on_due(saga_id, node)
        self._arm()
