"""What a worker has said and a SEC has not yet confirmed: results and rejections.

A result is kept until its final acknowledgement, which the SEC gives only when it is durable, and is sent again on
every new stream. A rejection has no acknowledgement of its own: it is kept until the SEC has sent back the nonce of
a heartbeat that left with it or after it, which proves that it was read.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.attempts import Ref

ITEM_OVERHEAD_BYTES = 8
"""Tag and length of an item inside a frame, generously."""


class Sending(Enum):
    """Where an unconfirmed item stands."""

    QUEUED = "queued"
    WRITTEN = "written"
    PARKED = "parked"


@dataclass(slots=True, eq=False)
class Unacked:
    """A result without a final acknowledgement."""

    ref: Ref
    sec: str
    message: pb.InvocationResult
    size: int
    sending: Sending = Sending.QUEUED


class Results:
    """Results without a final acknowledgement, in the order in which they came."""

    def __init__(self, bytes_max: int, count_max: int) -> None:
        self._bytes_max, self._count_max = bytes_max, count_max
        self._held: dict[Ref, Unacked] = {}
        self._queues: dict[str, deque[Unacked]] = {}
        self._parked: list[tuple[float, int, Unacked]] = []
        self._parked_count = 0
        self._full = False
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._held

    @property
    def full(self) -> bool:
        """True from the moment a bound is passed until both are well below."""
        return self._full

    def add(self, ref: Ref, sec: str, message: pb.InvocationResult, size: int) -> None:
        """Keep a result, which has `size` bytes, and queue it for its SEC."""
        item = Unacked(ref, sec, message, size + ITEM_OVERHEAD_BYTES)
        self._held[ref] = item
        self.bytes += item.size
        self._enqueue(item)
        self._judge()

    def settle(self, ref: Ref) -> bool:
        """Forget a result; False if there is none."""
        item = self._held.pop(ref, None)
        if item is None:
            return False
        self.bytes -= item.size
        self._judge()
        return True

    def park(self, ref: Ref, until: float) -> None:
        """Send it again at this time, not before."""
        item = self._held.get(ref)
        if item is not None:
            item.sending = Sending.PARKED
            self._parked_count += 1
            heapq.heappush(self._parked, (until, self._parked_count, item))

    def wake(self, now: float) -> None:
        """Queue what was parked until now."""
        while self._parked and self._parked[0][0] <= now:
            item = heapq.heappop(self._parked)[2]
            if item.sending is Sending.PARKED and self._held.get(item.ref) is item:
                self._enqueue(item)

    def next_wake(self) -> float | None:
        """When `wake` has something to do. May be too early, never too late."""
        return self._parked[0][0] if self._parked else None

    def resend(self, ref: Ref, sec: str, epoch: int) -> None:
        """Queue one result again, for the SEC that asked for it and under its epoch."""
        item = self._held[ref]
        item.message.epoch = max(item.message.epoch, epoch)
        if item.sending is Sending.QUEUED and item.sec == sec:
            return
        item.sec = sec
        self._enqueue(item)

    def resend_all(self, sec: str) -> None:
        """A new stream: queue every result of this SEC again, oldest first."""
        self._queues[sec] = deque()
        for item in self._held.values():
            if item.sec == sec:
                self._enqueue(item)

    def has_queued(self, sec: str) -> bool:
        """Whether `take` has anything to give."""
        queue = self._queues.get(sec)
        while queue and not self._is_due(queue[0], sec):
            queue.popleft()
        return bool(queue)

    def take(self, sec: str, budget: int) -> tuple[list[pb.InvocationResult], int]:
        """The results to write next, oldest first, of at most `budget` bytes; and what is left of the budget."""
        taken: list[pb.InvocationResult] = []
        queue = self._queues.get(sec)
        while queue:
            item = queue[0]
            if self._is_due(item, sec):
                if item.size > budget:
                    break
                budget -= item.size
                item.sending = Sending.WRITTEN
                taken.append(item.message)
            queue.popleft()
        return taken, budget

    def replace(self, ref: Ref, message: pb.InvocationResult) -> None:
        """Say something else instead, in the same place."""
        item = self._held[ref]
        self.bytes -= item.size
        item.message, item.size = message, message.ByteSize() + ITEM_OVERHEAD_BYTES
        self.bytes += item.size

    def messages(self) -> list[tuple[Ref, pb.InvocationResult]]:
        """All of them."""
        return [(item.ref, item.message) for item in self._held.values()]

    def of(self, sec: str) -> Iterator[Ref]:
        """The results of this SEC."""
        return (item.ref for item in self._held.values() if item.sec == sec)

    def of_saga(self, saga_id: str) -> list[Ref]:
        """The results of this saga."""
        return [ref for ref in self._held if ref.saga_id == saga_id]

    def _is_due(self, item: Unacked, sec: str) -> bool:
        """An acknowledgement, a new stream or another SEC may have overtaken what stands in a queue."""
        return item.sending is Sending.QUEUED and item.sec == sec and self._held.get(item.ref) is item

    def _enqueue(self, item: Unacked) -> None:
        item.sending = Sending.QUEUED
        self._queues.setdefault(item.sec, deque()).append(item)

    def _judge(self) -> None:
        share = limits.RESUME_SHARE if self._full else 1.0
        self._full = self.bytes > self._bytes_max * share or len(self._held) > self._count_max * share


@dataclass(slots=True, eq=False)
class Rejected:
    """A rejection that the SEC may not have read."""

    ref: Ref
    sec: str
    reason: pb.RejectionReason.ValueType
    confirmed_by: int = 0
    """Nonce whose echo confirms it; 0 while it is not written."""


@dataclass(slots=True)
class _Lane:
    """Rejections of one SEC: those to write, and those written in the order of their nonces."""

    queued: deque[Rejected] = field(default_factory=deque)
    written: deque[Rejected] = field(default_factory=deque)


class Rejections:
    """Rejections that their SEC may not have read, in the order in which they were decided."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._held: dict[Ref, Rejected] = {}
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self._held

    def add(self, ref: Ref, sec: str, reason: pb.RejectionReason.ValueType) -> None:
        """Keep a rejection and queue it for its SEC."""
        item = Rejected(ref, sec, reason)
        self._held[ref] = item
        queued = self._lane(sec).queued
        queued.append(item)
        if len(self._held) > self._count_max:
            del self._held[next(iter(self._held))]
        if len(queued) > self._count_max:
            queued.popleft()

    def repeat(self, ref: Ref, sec: str) -> None:
        """The attempt was sent again: say again that it will not run here."""
        item = self._held.pop(ref)
        self.add(ref, sec, item.reason)

    def resend_all(self, sec: str) -> None:
        """A new stream: queue every rejection of this SEC again."""
        self._lanes[sec] = _Lane(deque(item for item in self._held.values() if item.sec == sec))

    def has_queued(self, sec: str) -> bool:
        """Whether `take` has anything to give."""
        return bool(self._lane(sec).queued)

    def take(self, sec: str, budget: int, nonce: int) -> tuple[list[pb.Rejection], int]:
        """The rejections to write next, and what is left of the budget.

        `nonce` is that of the heartbeat which leaves with them or after them.
        """
        lane, taken = self._lane(sec), list[pb.Rejection]()
        while lane.queued:
            item = lane.queued[0]
            message = pb.Rejection(ref=item.ref.message(), reason=item.reason)
            size = message.ByteSize() + ITEM_OVERHEAD_BYTES
            if size > budget:
                break
            budget -= size
            item.confirmed_by = nonce
            lane.written.append(lane.queued.popleft())
            taken.append(message)
        return taken, budget

    def confirm(self, sec: str, nonce: int) -> None:
        """The SEC sent this nonce back: it has read everything that was written before."""
        written = self._lane(sec).written
        while written and written[0].confirmed_by <= nonce:
            item = written.popleft()
            if self._held.get(item.ref) is item:
                del self._held[item.ref]

    def of(self, sec: str) -> Iterator[Ref]:
        """The rejections of this SEC."""
        return (item.ref for item in self._held.values() if item.sec == sec)

    def _lane(self, sec: str) -> _Lane:
        lane = self._lanes.get(sec)
        if lane is None:
            lane = self._lanes[sec] = _Lane()
        return lane
