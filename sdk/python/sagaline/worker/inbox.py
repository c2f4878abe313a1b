"""What user code's threads and loop hand to the I/O loop: ends of attempts, and progress.

Whatever gathers until the I/O loop looks is one batch and costs one wake-up. It stays bounded: each running attempt
ends once, and only its latest progress is kept.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

from sagaline.v1 import payload_pb2
from sagaline.worker.attempts import Ref
from sagaline.worker.results import Outcome

End = tuple[Ref, Outcome | None]
"""An attempt and its outcome; None: it was never handed to user code, and never will be."""


class Inbox:
    """Filled from any thread, emptied by the I/O loop."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._lock = threading.Lock()
        self._ends: deque[End] = deque()
        self._progress: dict[Ref, payload_pb2.Payload | None] = {}
        self._woken = False

    def put_ends(self, ends: Iterable[End]) -> None:
        """Attempts have ended."""
        with self._lock:
            self._ends.extend(ends)
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def put_progress(self, ref: Ref, details: payload_pb2.Payload | None) -> None:
        """An attempt reported progress. Without details those that wait stand."""
        with self._lock:
            if details is not None or ref not in self._progress:
                self._progress[ref] = details
            woken, self._woken = self._woken, True
        if not woken:
            self._wake()

    def take(self) -> tuple[dict[Ref, payload_pb2.Payload | None], deque[End]]:
        """All that has gathered; progress counts as earlier than the ends."""
        with self._lock:
            self._woken = False
            progress, self._progress = self._progress, {}
            ends, self._ends = self._ends, deque()
        return progress, ends
