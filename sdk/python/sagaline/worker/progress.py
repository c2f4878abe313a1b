"""Progress of running attempts: only the latest of each counts, and of each at most one is sent in a short time."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref
from sagaline.worker.limits import ITEM_OVERHEAD_BYTES

NEVER = float("-inf")


@dataclass(slots=True, eq=False)
class _Latest:
    """The latest progress of one attempt."""

    ref: Ref
    sec: str
    details: payload_pb2.Payload | None = None
    queued: bool = False
    written_at: float = NEVER

    def message(self) -> pb.Progress:
        """As it goes over the wire."""
        return pb.Progress(ref=self.ref.message(), details=self.details)


class ProgressBox:
    """The latest progress of each running attempt that reported any."""

    def __init__(self) -> None:
        self._latest: dict[Ref, _Latest] = {}
        self._waiting: dict[Ref, float] = {}
        self._queues: dict[str, deque[_Latest]] = {}

    def report(self, ref: Ref, sec: str, details: payload_pb2.Payload | None, now: float) -> None:
        """Replace the progress of an attempt. Without details the last ones stand, and only its life is told."""
        latest = self._latest.get(ref)
        if latest is None:
            latest = self._latest[ref] = _Latest(ref, sec)
        if details is not None:
            latest.details = details
        if latest.queued or ref in self._waiting:
            return
        due = latest.written_at + limits.PROGRESS_SECONDS
        if due <= now:
            self._enqueue(latest)
        else:
            self._waiting[ref] = due

    def wake(self, now: float) -> None:
        """Queue what has waited long enough."""
        for ref in [ref for ref, due in self._waiting.items() if due <= now]:
            del self._waiting[ref]
            self._enqueue(self._latest[ref])

    def next_wake(self) -> float | None:
        """When `wake` has something to do."""
        return min(self._waiting.values()) if self._waiting else None

    def end(self, ref: Ref) -> None:
        """The attempt ended: what it told last leaves no later than its result, and nothing follows."""
        if self._latest:
            latest = self._latest.pop(ref, None)
            if latest is not None and self._waiting.pop(ref, None) is not None:
                self._enqueue(latest)

    def resend_all(self, sec: str) -> None:
        """A new stream: what was written on the old one may have been lost."""
        self._queues[sec] = deque()
        for latest in self._latest.values():
            if latest.sec == sec:
                self._waiting.pop(latest.ref, None)
                self._enqueue(latest)

    def assign(self, ref: Ref, sec: str) -> None:
        """Another SEC has the attempt from here on: it is told what the one before was."""
        latest = self._latest.get(ref)
        if latest is not None and latest.sec != sec:
            latest.sec = sec
            self._waiting.pop(ref, None)
            self._enqueue(latest)

    def closed(self, sec: str) -> None:
        """A SEC has no stream any more; `resend_all` makes up for what is dropped here."""
        self._queues.pop(sec, None)

    def has_queued(self, sec: str) -> bool:
        """Whether `take` has anything to give."""
        queue = self._queues.get(sec)
        while queue and queue[0].sec != sec:
            queue.popleft()
        return bool(queue)

    def take(self, sec: str, budget: int, now: float) -> tuple[list[pb.Progress], int]:
        """What to write next, of at most `budget` bytes, and what is left of the budget."""
        queue, taken = self._queues.get(sec), list[pb.Progress]()
        while queue:
            latest = queue[0]
            if latest.sec != sec:
                queue.popleft()
                continue
            message = latest.message()
            size = message.ByteSize() + ITEM_OVERHEAD_BYTES
            if size > budget:
                break
            budget -= size
            queue.popleft()
            latest.queued, latest.written_at = False, now
            taken.append(message)
        return taken, budget

    def _enqueue(self, latest: _Latest) -> None:
        latest.queued = True
        self._queues.setdefault(latest.sec, deque()).append(latest)
