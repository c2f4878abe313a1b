"""The attempts that are here, and the slots in which they run: what starts, what waits, what is refused, what stops.

Of a saga and node user code runs once at a time, whatever the side; of all of them never more than there are slots.
What is beyond that waits, if it is little, or is refused.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from contextlib import suppress

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Attempt, AttemptState, CancelReason, Ref
from sagaline.worker.deadlines import Deadlines
from sagaline.worker.durations import seconds_of
from sagaline.worker.effects import Effects, Stop
from sagaline.worker.rejections import Rejections

NO_CAPACITY = pb.REJECTION_REASON_NO_CAPACITY
STALE_EPOCH = pb.REJECTION_REASON_STALE_EPOCH


class Slots:
    """Attempts that have not ended, and the slots that they use or wait for."""

    def __init__(self, slots: Mapping[str, int], effects: Effects, rejections: Rejections) -> None:
        self.attempts: dict[Ref, Attempt] = {}
        self.running: dict[tuple[str, str], Attempt] = {}
        """By saga and node."""
        self.queued: dict[tuple[str, str], Attempt] = {}
        """By saga and node: what waits for a slot, or for an earlier attempt of the node to end."""
        self._slots = dict(slots)
        self._effects = effects
        self._rejections = rejections
        self._lines: dict[str, deque[Attempt]] = {pool: deque() for pool in slots}
        self._used = dict.fromkeys(slots, 0)
        self._held = dict.fromkeys(slots, 0)
        self._deadlines = Deadlines()

    def refusal(self, attempt: Attempt, excess: int) -> pb.RejectionReason.ValueType | None:
        """Why an attempt that is new here is not taken; None: it is. `excess` is what may be held beyond the slots."""
        waiting = self.queued.get(attempt.place)
        here = waiting or self.running.get(attempt.place)
        if here is not None and here.ref.rank >= attempt.ref.rank:
            return STALE_EPOCH
        pool = attempt.pool
        replaced = 1 if waiting is not None and waiting.pool == pool else 0
        if self._held[pool] - replaced >= self._slots[pool] + excess:
            return NO_CAPACITY
        return None

    def take(self, attempt: Attempt, now: float) -> None:
        """A later attempt of a node takes the place of one that waits, and waits for one that runs.

        The SEC has given the earlier one up, or it would not have sent another; but here it may still be having its
        effect, and two at once is what no idempotency key protects from.
        """
        place = attempt.place
        waiting, running = self.queued.get(place), self.running.get(place)
        if waiting is not None:
            self.reject(waiting, NO_CAPACITY)
        self.attempts[attempt.ref] = attempt
        self._held[attempt.pool] += 1
        if running is not None:
            self.queued[place] = attempt
            self.stop(running, CancelReason.SUPERSEDED)
        elif self._used[attempt.pool] < self._slots[attempt.pool]:
            self._start(attempt, now)
        else:
            self.queued[place] = attempt
            self._lines[attempt.pool].append(attempt)

    def _start(self, attempt: Attempt, now: float) -> None:
        attempt.state = AttemptState.RUNNING
        self.running[attempt.place] = attempt
        self._used[attempt.pool] += 1
        if attempt.invocation.HasField("start_to_close"):
            allowed = seconds_of(attempt.invocation.start_to_close)
            self._deadlines.add(now + allowed, attempt, alive=len(self.running))
        self._effects.start(attempt)

    def stop(self, attempt: Attempt, reason: CancelReason) -> None:
        """Ask a running attempt to end. The first reason counts; but an order comes after any advice."""
        given = attempt.cancel_reason
        if given is None or (given.is_advice and not reason.is_advice):
            attempt.cancel_reason = reason
            self._effects.add(Stop(attempt.ref, reason))

    def reject(self, attempt: Attempt, reason: pb.RejectionReason.ValueType) -> None:
        """Only of an attempt that has not started: that is what the word promises."""
        assert attempt.state is AttemptState.QUEUED, attempt.ref
        del self.queued[attempt.place]
        del self.attempts[attempt.ref]
        attempt.state = AttemptState.ENDED
        self._held[attempt.pool] -= 1
        with suppress(ValueError):
            self._lines[attempt.pool].remove(attempt)
        self._rejections.add(attempt.ref, attempt.sec, reason)

    def drop(self, attempt: Attempt) -> None:
        """User code has ended, or never began."""
        attempt.state = AttemptState.ENDED
        del self.attempts[attempt.ref]
        del self.running[attempt.place]
        self._used[attempt.pool] -= 1
        self._held[attempt.pool] -= 1

    def advance(self, ended: Attempt, *, succeeded: bool, now: float) -> None:
        """Use what an end has freed: the node, for a later attempt that waits for it, and the slot."""
        waiting = self.queued.get(ended.place)
        if waiting is not None and succeeded and waiting.ref.kind == ended.ref.kind:
            # The node's answer is known, and goes to the SEC before this: running it again would gain nothing.
            self.reject(waiting, NO_CAPACITY)
        elif waiting is not None:
            self._lines[waiting.pool].append(waiting)
            self._fill(waiting.pool, now)
        self._fill(ended.pool, now)

    def _fill(self, pool: str, now: float) -> None:
        line = self._lines[pool]
        while line and self._used[pool] < self._slots[pool]:
            attempt = line.popleft()
            del self.queued[attempt.place]
            self._start(attempt, now)

    def tick(self, now: float) -> None:
        """Ask what has run for too long to end."""
        for attempt in self._deadlines.expired(now):
            self.stop(attempt, CancelReason.TIMED_OUT)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        return self._deadlines.next()

    def by_sec_and_pool(self) -> Mapping[tuple[str, str], int]:
        """How many attempts are here."""
        return Counter((attempt.sec, attempt.pool) for attempt in self.attempts.values())
