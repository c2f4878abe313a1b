"""Results that no SEC has finally acknowledged, and where each of them goes next.

A result is kept until its final acknowledgement, which a SEC gives only when it is durable. It is worth the same on
any SEC, and only the saga's owner can take it. So each has an *owner*, the SEC that sent or adopted the attempt last
or that another one named, and a *lane*, where it stands in a queue or was written: the owner's stream, a call to the
owner's address, or the stream of any SEC, which answers with the owner. Results of a SEC that has no stream wait a
little, for mostly it comes back, and then ask their way. However they go, the final acknowledgement ends it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures, limits
from sagaline.worker.attempts import Attempt, OwnerOf, Ref
from sagaline.worker.durations import seconds_of
from sagaline.worker.limits import ITEM_OVERHEAD_BYTES
from sagaline.worker.routes import CALL, Routes

Outcome = payload_pb2.Payload | failure_pb2.Failure

FINAL = frozenset(
    {
        pb.RESULT_STATUS_RECORDED,
        pb.RESULT_STATUS_DUPLICATE,
        pb.RESULT_STATUS_SUPERSEDED,
        pb.RESULT_STATUS_NOT_FOUND,
        pb.RESULT_STATUS_INVALID,
    }
)
"""Statuses after which no SEC needs the result any more."""


class Sending(Enum):
    """Where an unacknowledged result stands."""

    QUEUED = "queued"
    """In its lane."""
    WRITTEN = "written"
    """Sent on its lane, and not answered."""
    PARKED = "parked"
    """To be sent later."""
    STRANDED = "stranded"
    """There is no way for it: no stream is open."""


@dataclass(slots=True, eq=False)
class Unacked:
    """A result without a final acknowledgement."""

    ref: Ref
    owner: str
    """The SEC that is to take it; "" if nobody knows."""
    message: pb.InvocationResult
    size: int
    lane: str = ""
    sending: Sending = Sending.STRANDED
    parking: int = 0
    """Which parking is the present one; the heap may still hold earlier ones."""
    redirects: int = 0
    """How often a SEC said that it is not the owner, since we believed to know."""


class Results:
    """Results without a final acknowledgement, in the order in which they came."""

    def __init__(self, bytes_max: int, count_max: int) -> None:
        self._bytes_max, self._count_max = bytes_max, count_max
        self.held: dict[Ref, Unacked] = {}
        self._lanes: dict[str, deque[Unacked]] = {}
        self._parked: list[tuple[float, int, Unacked]] = []
        self._parked_count = 0
        self.full = False
        """True from the moment a bound is passed until both are well below."""
        self.routes = Routes()
        self.bytes = 0
        self.calls: dict[str, None] = {}
        """Addresses to call: results are queued for them."""

    def __len__(self) -> int:
        return len(self.held)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self.held

    # ---- what is held

    def add(self, ref: Ref, sec: str, message: pb.InvocationResult, size: int, now: float) -> None:
        """Keep a result, which has `size` bytes, for its SEC."""
        item = Unacked(ref, sec, message, size + ITEM_OVERHEAD_BYTES)
        self.held[ref] = item
        self.bytes += item.size
        self._judge()
        self._send_to_owner(item, now)

    def replace(self, ref: Ref, message: pb.InvocationResult) -> None:
        """Say something else instead, in the same place."""
        item = self.held[ref]
        self.bytes -= item.size
        item.message, item.size = message, message.ByteSize() + ITEM_OVERHEAD_BYTES
        self.bytes += item.size

    def messages(self) -> list[tuple[Ref, pb.InvocationResult]]:
        """All of them."""
        return [(item.ref, item.message) for item in self.held.values()]

    def of(self, sec: str | None) -> Iterator[Ref]:
        """The results of this SEC; None: of all."""
        return (item.ref for item in self.held.values() if sec is None or sec in (item.owner, item.lane))

    # ---- acknowledgements

    def acknowledge(self, ack: pb.ResultAck, lane: str, now: float) -> Ref | None:
        """The fate of a result, told on a lane. Returns its name if it is forgotten because of that.

        A status that is not known here keeps it: forgetting could lose it.
        """
        ref = Ref.of(ack.ref)
        if ack.status in FINAL:
            return self._settle(ref)
        item = self.held.get(ref)
        if item is None or item.lane != lane or item.sending is not Sending.WRITTEN:
            return None  # it has been queued again since, or goes elsewhere by now
        if ack.status == pb.RESULT_STATUS_NOT_OWNER:
            self._redirect(item, ack.owner, now)
        else:
            delay = seconds_of(ack.retry_delay) if ack.HasField("retry_delay") else limits.RETRY_SECONDS
            self._park(item, now + min(max(delay, limits.RETRY_SECONDS_MIN), limits.RETRY_SECONDS_MAX))
        return None

    def _settle(self, ref: Ref) -> Ref | None:
        item = self.held.pop(ref, None)
        if item is None:
            return None
        self.bytes -= item.size
        self._judge()
        return ref

    def _redirect(self, item: Unacked, owner: pb.Sec, now: float) -> None:
        """A SEC names the owner. The first time it is believed at once; a search that goes on slows down."""
        item.redirects += 1
        item.owner = owner.sec_id
        self.routes.learn(owner.sec_id, owner.address)
        if item.owner and item.redirects == 1:
            self._route(item, now)
        else:
            self._park(item, now + limits.search_seconds(item.redirects))

    # ---- whose they are

    def assign(self, ref: Ref, sec: str, epoch: int, now: float) -> None:
        """A SEC that owns the saga, or is to own it, has it from here on."""
        item = self.held[ref]
        item.message.epoch = max(item.message.epoch, epoch)
        item.owner, item.redirects = sec, 0
        if item.sending is not Sending.QUEUED or item.lane != sec:
            self._send_to_owner(item, now)

    def reassign(self, owner_of: OwnerOf, now: float) -> None:
        """Sagas have moved."""
        for item in self.held.values():
            moved = owner_of(item.ref, item.owner)
            if moved is not None:
                self.assign(item.ref, *moved, now)

    # ---- streams

    def opened(self, sec: str, now: float) -> None:
        """A SEC has a new stream: queue all that is its own again, oldest first."""
        self.routes.opened(sec)
        self._lanes[sec] = deque()
        for item in self.held.values():
            if item.owner == sec or (item.lane == sec and not self.routes.is_open(item.owner)):
                self._enqueue(item, sec)
            elif item.sending is Sending.STRANDED:
                self._park(item, now + limits.ASTRAY_SECONDS)

    def closed(self, sec: str, now: float) -> None:
        """A SEC has no stream any more. What was for it waits, for most streams come back; then it asks its way."""
        self.routes.closed(sec)
        self._lanes.pop(sec, None)
        for item in self.held.values():
            if item.lane == sec and item.sending in (Sending.QUEUED, Sending.WRITTEN):
                self._park(item, now + limits.ASTRAY_SECONDS)

    def has_queued(self, lane: str) -> bool:
        """Whether `take` has anything to give."""
        queue = self._lanes.get(lane)
        while queue and not self._is_due(queue[0], lane):
            queue.popleft()
        return bool(queue)

    def take(
        self, lane: str, budget: int, count_max: int = limits.UNACKED_RESULTS_MAX
    ) -> tuple[list[pb.InvocationResult], int]:
        """The results to write next, oldest first, of at most `budget` bytes; and what is left of the budget."""
        taken: list[pb.InvocationResult] = []
        queue = self._lanes.get(lane)
        while queue and len(taken) < count_max:
            item = queue[0]
            if self._is_due(item, lane):
                if item.size > budget:
                    break
                budget -= item.size
                item.sending = Sending.WRITTEN
                taken.append(item.message)
            queue.popleft()
        return taken, budget

    # ---- calls

    def take_calls(self) -> Iterator[tuple[str, list[pb.InvocationResult]]]:
        """Addresses to call now, each with what to tell there."""
        for address in list(self.calls):
            if not self.has_queued(CALL + address):
                del self.calls[address]
                self._lanes.pop(CALL + address, None)
            elif self.routes.begin_call(address):
                taken, _ = self.take(CALL + address, limits.FRAME_BYTES, limits.CALL_RESULTS_MAX)
                yield address, taken

    def called(self, address: str, acks: list[pb.ResultAck] | None, now: float) -> list[tuple[Ref, pb.ResultAck]]:
        """A call has ended; None: without an answer. Returns what is forgotten because of it, and why."""
        lane = CALL + address
        self.routes.end_call(address, answered=acks is not None, now=now)
        fates = [(self.acknowledge(ack, lane, now), ack) for ack in acks or ()]
        for item in list(self.held.values()):
            if item.lane != lane or item.sending not in (Sending.QUEUED, Sending.WRITTEN):
                continue
            if acks is None:
                self._route(item, now)
            elif item.sending is Sending.WRITTEN:
                self._park(item, now + limits.RETRY_SECONDS)
        return [(ref, ack) for ref, ack in fates if ref is not None]

    # ---- time

    def wake(self, now: float) -> None:
        """Send what was parked until now."""
        while self._parked and self._parked[0][0] <= now:
            _, parking, item = heapq.heappop(self._parked)
            if item.sending is Sending.PARKED and item.parking == parking and self.held.get(item.ref) is item:
                self._route(item, now)

    def next_wake(self) -> float | None:
        """When `wake` has something to do. May be too early, never too late."""
        return self._parked[0][0] if self._parked else None

    # ---- inside

    def _send_to_owner(self, item: Unacked, now: float) -> None:
        if self.routes.is_open(item.owner):
            self._enqueue(item, item.owner)
        else:
            self._park(item, now + limits.ASTRAY_SECONDS)

    def _route(self, item: Unacked, now: float) -> None:
        lane = self.routes.lane_to(item.owner, now)
        if lane is None:
            item.sending = Sending.STRANDED
        else:
            self._enqueue(item, lane)
            if lane.startswith(CALL):
                self.calls[lane.removeprefix(CALL)] = None

    def _park(self, item: Unacked, until: float) -> None:
        self._parked_count += 1
        item.sending, item.parking = Sending.PARKED, self._parked_count
        heapq.heappush(self._parked, (until, self._parked_count, item))

    def _enqueue(self, item: Unacked, lane: str) -> None:
        item.sending, item.lane = Sending.QUEUED, lane
        queue = self._lanes.get(lane)
        if queue is None:
            queue = self._lanes[lane] = deque()
        queue.append(item)

    def _is_due(self, item: Unacked, lane: str) -> bool:
        """An acknowledgement, a new stream or another SEC may have overtaken what stands in a queue."""
        return item.sending is Sending.QUEUED and item.lane == lane and self.held.get(item.ref) is item

    def _judge(self) -> None:
        share = limits.RESUME_SHARE if self.full else 1.0
        self.full = self.bytes > self._bytes_max * share or len(self.held) > self._count_max * share


def result_message(attempt: Attempt, outcome: Outcome, payload_bytes: int) -> tuple[pb.InvocationResult, int]:
    """The result of an attempt and its size in bytes. What can't be sent whole is told as a failure instead."""
    ref, epoch = attempt.invocation.ref, attempt.epoch
    if isinstance(outcome, payload_pb2.Payload):
        message = pb.InvocationResult(ref=ref, epoch=epoch, output=outcome)
        size = message.ByteSize()
        if size <= payload_bytes or outcome.ByteSize() <= payload_bytes:
            return message, size
        outcome = failures.payload_too_large("the output", outcome.ByteSize(), payload_bytes)
    failure = failures.bounded(outcome, payload_bytes)
    message = pb.InvocationResult(ref=ref, epoch=epoch, failure=failure)
    return message, message.ByteSize()
