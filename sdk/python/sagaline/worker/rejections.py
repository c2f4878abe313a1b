"""Rejections that their SEC may not have read.

A rejection has no acknowledgement of its own: it is kept until the SEC has sent back the nonce of a heartbeat that
left with it or after it, which proves that it was read.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import OwnerOf, Ref
from sagaline.worker.limits import ITEM_OVERHEAD_BYTES


@dataclass(slots=True, eq=False)
class Rejected:
    """A rejection that the SEC may not have read."""

    ref: Ref
    sec: str
    """Whose reading of it counts; "" if anybody's does, since that SEC is gone."""
    reason: pb.RejectionReason.ValueType


@dataclass(slots=True)
class _Lane:
    """Rejections of one stream: those to write, and those written, each with the nonce whose echo confirms it."""

    queued: deque[Rejected] = field(default_factory=deque)
    written: deque[tuple[int, Rejected]] = field(default_factory=deque)


class Rejections:
    """Rejections that their SEC may not have read, in the order in which they were decided."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.held: dict[Ref, Rejected] = {}
        self._lanes: dict[str, _Lane] = {}

    def __len__(self) -> int:
        return len(self.held)

    def __contains__(self, ref: Ref) -> bool:
        return ref in self.held

    def add(self, ref: Ref, sec: str, reason: pb.RejectionReason.ValueType) -> None:
        """Keep a rejection and queue it for its SEC."""
        item = self.held[ref] = Rejected(ref, sec, reason)
        if len(self.held) > self._count_max:
            del self.held[next(iter(self.held))]
        self._queue(item, sec)

    def repeat(self, ref: Ref, sec: str, *, owner: bool) -> None:
        """The attempt was sent again: say again that it will not run here; to the owner, so that it counts."""
        if owner:
            self.add(ref, sec, self.held.pop(ref).reason)
        else:
            self._queue(self.held[ref], sec)

    def reassign(self, owner_of: OwnerOf) -> None:
        """Sagas have moved."""
        for item in self.held.values():
            moved = owner_of(item.ref, item.sec)
            if moved is not None and moved[0]:
                item.sec = moved[0]
                self._queue(item, item.sec)

    def opened(self, sec: str) -> None:
        """A new stream: queue every rejection of this SEC again, and those of SECs that are gone."""
        self._lanes[sec] = _Lane(deque(item for item in self.held.values() if item.sec in (sec, "")))

    def closed(self, sec: str) -> None:
        """A SEC has no stream any more."""
        self._lanes.pop(sec, None)

    def release(self, is_gone: Callable[[str], bool]) -> None:
        """Some SECs will not come back: for what was theirs it is enough that anybody has read it."""
        for item in self.held.values():
            if is_gone(item.sec):
                item.sec = ""

    def has_queued(self, sec: str) -> bool:
        """Whether `take` has anything to give."""
        lane = self._lanes.get(sec)
        return lane is not None and bool(lane.queued)

    def take(self, sec: str, budget: int, nonce: int) -> tuple[list[pb.Rejection], int]:
        """The rejections to write next, and what is left of the budget.

        `nonce` is that of the heartbeat which leaves with them or after them.
        """
        lane, taken = self._lanes[sec], list[pb.Rejection]()
        while lane.queued:
            item = lane.queued[0]
            message = pb.Rejection(ref=item.ref.message(), reason=item.reason)
            size = message.ByteSize() + ITEM_OVERHEAD_BYTES
            if size > budget:
                break
            budget -= size
            lane.written.append((nonce, lane.queued.popleft()))
            taken.append(message)
        return taken, budget

    def confirm(self, sec: str, nonce: int) -> None:
        """The SEC sent this nonce back: it has read everything that was written before."""
        lane = self._lanes.get(sec)
        while lane is not None and lane.written and lane.written[0][0] <= nonce:
            item = lane.written.popleft()[1]
            if item.sec in (sec, "") and self.held.get(item.ref) is item:
                del self.held[item.ref]

    def of(self, sec: str | None) -> Iterator[Ref]:
        """The rejections of this SEC; None: of all."""
        return (item.ref for item in self.held.values() if sec is None or item.sec == sec)

    def _queue(self, item: Rejected, sec: str) -> None:
        lane = self._lanes.get(sec)
        if lane is None:
            lane = self._lanes[sec] = _Lane()
        lane.queued.append(item)
        if len(lane.queued) > self._count_max:
            lane.queued.popleft()
