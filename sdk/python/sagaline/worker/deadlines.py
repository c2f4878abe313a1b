"""When running attempts have run for too long."""

from __future__ import annotations

import heapq
from collections.abc import Iterator

from sagaline.worker.attempts import Attempt, AttemptState

STALE_SHARE = 4
"""The heap is swept when it holds so many times more than what is alive: most attempts end long before their time."""


class Deadlines:
    """A heap of attempts by the time at which they are to be stopped. Those that have ended are swept out lazily."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Attempt]] = []
        self._count = 0

    def add(self, at: float, attempt: Attempt, *, alive: int) -> None:
        """Watch an attempt; `alive` is how many are running."""
        self._count += 1
        heapq.heappush(self._heap, (at, self._count, attempt))
        if len(self._heap) > STALE_SHARE * alive + 16:
            self._heap = [entry for entry in self._heap if entry[2].state is AttemptState.RUNNING]
            heapq.heapify(self._heap)

    def expired(self, now: float) -> Iterator[Attempt]:
        """Attempts whose time is over, each once."""
        while self._heap and self._heap[0][0] <= now:
            attempt = heapq.heappop(self._heap)[2]
            if attempt.state is AttemptState.RUNNING:
                yield attempt

    def next(self) -> float | None:
        """The time of the first; that of one that has ended is too early, never too late."""
        return self._heap[0][0] if self._heap else None
