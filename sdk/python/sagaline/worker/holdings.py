"""What this worker process holds, whichever SEC it came from: slots, attempts, and answers not yet confirmed.

One for each worker; the sessions, one for each SEC, feed it and write what it has for them. Its promises:

- User code runs for each attempt at most once, and of each node at most one attempt at a time, whatever the side.
  An attempt that is sent again is attached to the one that is here.
- Every attempt taken is answered: by a result once it was handed to user code, whatever happens, and by a rejection
  only before. Answers are kept until the SEC has confirmed them.
- Never more running than slots, never more held than slots and a small excess.
- No attempt of a lower epoch starts after a higher one of the same saga was seen.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures, limits
from sagaline.worker.attempts import Attempt, AttemptState, CancelReason, Ref
from sagaline.worker.deadlines import Deadlines
from sagaline.worker.durations import seconds_of
from sagaline.worker.effects import Effects, Stop
from sagaline.worker.epochs import Epochs
from sagaline.worker.outbox import Rejections, Results
from sagaline.worker.progress import ProgressBox

NO_CAPACITY = pb.REJECTION_REASON_NO_CAPACITY
DRAINING = pb.REJECTION_REASON_DRAINING
UNKNOWN_ACTION = pb.REJECTION_REASON_UNKNOWN_ACTION
STALE_EPOCH = pb.REJECTION_REASON_STALE_EPOCH

Outcome = payload_pb2.Payload | failure_pb2.Failure
Served = Mapping[tuple[str, str, int], str]
"""Action, version and side, to the slot pool that it uses."""


class Holdings:
    """Everything that outlives a stream."""

    def __init__(
        self,
        served: Served,
        slots: Mapping[str, int],
        *,
        unacked_bytes_max: int = limits.UNACKED_BYTES_MAX,
        unacked_results_max: int = limits.UNACKED_RESULTS_MAX,
    ) -> None:
        self.effects = Effects()
        self.results = Results(unacked_bytes_max, unacked_results_max)
        self.rejections = Rejections(limits.UNCONFIRMED_REJECTIONS_MAX)
        self.progress = ProgressBox()
        self.payload_bytes = limits.PAYLOAD_BYTES
        self.draining = False
        self.given_up = False
        """The drain's time is over, and so is the grace for what still ran: sessions close whatever is left."""
        self._served, self._slots = served, dict(slots)
        self._attempts: dict[Ref, Attempt] = {}
        self._running: dict[tuple[str, str], Attempt] = {}
        self._queued: dict[tuple[str, str], Attempt] = {}
        self._lines: dict[str, deque[Attempt]] = {pool: deque() for pool in slots}
        self._used = dict.fromkeys(slots, 0)
        self._held = dict.fromkeys(slots, 0)
        self._epochs = Epochs()
        self._deadlines = Deadlines()
        self._drain_at: float | None = None
        self._give_up_at: float | None = None

    # ---- what comes from a SEC

    def receive(self, invocation: pb.Invocation, sec: str, now: float) -> None:
        """An invocation: attach it to what is here, take it, or reject it."""
        ref, epoch = Ref.of(invocation.ref), invocation.epoch
        if not ref.is_valid():
            self.effects.note(logging.ERROR, "invocation without a name ignored", sec=sec, ref=ref)
        elif not self._attach(ref, sec, epoch):
            pool = self._served.get((invocation.action, invocation.version, ref.kind))
            attempt = Attempt(ref, invocation, pool or "", sec, epoch)
            reason = UNKNOWN_ACTION if pool is None else self._refusal(attempt)
            if self._epochs.is_stale(ref.saga_id, epoch):
                reason = STALE_EPOCH
            if reason is not None:
                self.rejections.add(ref, sec, reason)
            else:
                self._take(attempt, now)

    def acknowledge(self, ack: pb.ResultAck, now: float) -> None:
        """The fate of a result. A status that is not known here keeps the result: forgetting could lose it."""
        ref = Ref.of(ack.ref)
        if ack.status in FINAL:
            if self.results.settle(ref):
                self.effects.forget(ref)
                if ack.status not in ROUTINE:
                    status = pb.ResultStatus.Name(ack.status)
                    self.effects.note(logging.WARNING, "result not taken", ref=ref, status=status, why=ack.message)
            return
        delay = seconds_of(ack.retry_delay) if ack.HasField("retry_delay") else limits.RETRY_SECONDS
        delay = min(max(delay, limits.RETRY_SECONDS_MIN), limits.RETRY_SECONDS_MAX)
        self.results.park(ref, now + delay)

    def cancel(self, ref: Ref, reason: CancelReason) -> bool:
        """A SEC's wish to stop an attempt. False if the attempt is not held here."""
        attempt = self._attempts.get(ref)
        if attempt is None:
            return ref in self.results or ref in self.rejections
        if attempt.state is AttemptState.QUEUED:
            self._reject(attempt, NO_CAPACITY)
        else:
            self._stop(attempt, reason)
        return True

    def adopt(self, sec: str, saga_id: str, epoch: int) -> None:
        """A SEC has taken a saga over: from here on what is held of it is answered there."""
        self._epochs.see(saga_id, epoch)
        for attempt in self._attempts.values():
            if attempt.ref.saga_id == saga_id:
                attempt.sec, attempt.epoch = sec, max(attempt.epoch, epoch)
        for ref in self.results.of_saga(saga_id):
            self.results.resend(ref, sec, epoch)

    def moved(self, saga_id: str, epoch: int) -> None:
        """A saga left its SEC: nothing more of a lower epoch starts here. Its answers wait for an adoption."""
        self._epochs.see(saga_id, epoch)

    def fit(self, payload_bytes: int) -> None:
        """A SEC's limit for payloads. What was kept under a higher one would never fit into a frame."""
        self.payload_bytes = payload_bytes
        for ref, message in self.results.messages():
            size = message.output.ByteSize()
            if size > payload_bytes:
                failure = failures.payload_too_large("the output", size, payload_bytes)
                self.results.replace(ref, pb.InvocationResult(ref=message.ref, epoch=message.epoch, failure=failure))

    # ---- what comes from the executor

    def finished(self, ref: Ref, outcome: Outcome, now: float) -> None:
        """User code ended. Its slot is free at once; the window is, when the result has been written."""
        attempt = self._attempts.get(ref)
        if attempt is None or attempt.state is not AttemptState.RUNNING:
            self.effects.note(logging.ERROR, "outcome of an attempt that does not run", ref=ref)
            return
        self._drop(attempt)
        message, size = self._result(attempt, outcome)
        self.results.add(ref, attempt.sec, message, size)
        succeeded = isinstance(outcome, payload_pb2.Payload)
        self._advance(attempt, succeeded=succeeded, now=now)

    def not_started(self, ref: Ref, reason: pb.RejectionReason.ValueType, now: float) -> None:
        """The executor could not hand an attempt to user code after all, and never will."""
        attempt = self._attempts.get(ref)
        if attempt is not None and attempt.state is AttemptState.RUNNING:
            self._drop(attempt)
            self.rejections.add(ref, attempt.sec, reason)
            self._advance(attempt, succeeded=False, now=now)

    def report_progress(self, ref: Ref, details: payload_pb2.Payload | None, now: float) -> None:
        """User code is alive. Told late, after its end, it means nothing any more."""
        attempt = self._attempts.get(ref)
        if attempt is not None and attempt.state is AttemptState.RUNNING:
            self.progress.report(ref, attempt.sec, details, now)

    # ---- leaving, and time

    def drain(self, now: float, timeout: float) -> None:
        """Take nothing more, hand back what has not started, and let run what runs. Again: it can only get shorter."""
        until = now + max(timeout, 0.0)
        self._drain_at = until if self._drain_at is None else min(until, self._drain_at)
        self.draining = True
        for attempt in list(self._queued.values()):
            self._reject(attempt, DRAINING)

    def drain_left(self, now: float) -> float:
        """Seconds until what still runs will be cancelled."""
        return max(0.0, self._drain_at - now) if self._drain_at is not None else 0.0

    def tick(self, now: float) -> None:
        """Do what is due."""
        for attempt in self._deadlines.expired(now):
            self._stop(attempt, CancelReason.TIMED_OUT)
        self.results.wake(now)
        self.progress.wake(now)
        if self._drain_at is not None and self._give_up_at is None and now >= self._drain_at:
            self._give_up_at = now + limits.CANCEL_GRACE_SECONDS
            for attempt in self._running.values():
                self._stop(attempt, CancelReason.WORKER_STOPPING)
        if self._give_up_at is not None and now >= self._give_up_at:
            self.given_up = True

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        drain = self._drain_at if self._give_up_at is None else self._give_up_at
        times = [
            self._deadlines.next(),
            self.results.next_wake(),
            self.progress.next_wake(),
            None if self.given_up else drain,
        ]
        return min((time for time in times if time is not None), default=None)

    # ---- what sessions ask

    def window(self, sec: str) -> dict[str, int]:
        """Most invocations that this SEC may have outstanding, by slot pool.

        With several SECs this is where the slots are split; with one it has them all.
        """
        closed = self.draining or self.results.full
        return {pool: 0 if closed else slots for pool, slots in self._slots.items()}

    def report(self, sec: str) -> Iterator[tuple[Ref, pb.InFlightState.ValueType]]:
        """Everything of this SEC that is held.

        What was rejected and is not confirmed stands as queued, which is what it was: the rejection follows, and
        until then the SEC must not take the attempt for lost.
        """
        for attempt in self._attempts.values():
            if attempt.sec == sec:
                yield attempt.ref, IN_FLIGHT[attempt.state]
        for ref in self.results.of(sec):
            yield ref, pb.IN_FLIGHT_STATE_RESULT_PENDING
        for ref in self.rejections.of(sec):
            yield ref, pb.IN_FLIGHT_STATE_QUEUED

    def state_of(self, ref: Ref) -> pb.InFlightState.ValueType:
        """Where one attempt stands."""
        attempt = self._attempts.get(ref)
        if attempt is not None:
            return IN_FLIGHT[attempt.state]
        if ref in self.results:
            return pb.IN_FLIGHT_STATE_RESULT_PENDING
        return pb.IN_FLIGHT_STATE_QUEUED if ref in self.rejections else pb.IN_FLIGHT_STATE_NOT_HELD

    def owes(self, sec: str) -> bool:
        """Whether this SEC still waits for an answer."""
        held = any(attempt.sec == sec for attempt in self._attempts.values())
        return held or any(True for _ in self.results.of(sec)) or self.rejections.has_queued(sec)

    def counts(self) -> tuple[int, int]:
        """Attempts held, and bytes of results without a final acknowledgement."""
        return len(self._attempts) + len(self.results), self.results.bytes

    def left_running(self) -> Iterable[Attempt]:
        """Attempts whose user code has not ended."""
        return self._running.values()

    # ---- inside

    def _attach(self, ref: Ref, sec: str, epoch: int) -> bool:
        """True if this attempt is here already: it is then neither run again nor rejected, whatever its epoch."""
        attempt = self._attempts.get(ref)
        if attempt is not None:
            if epoch >= attempt.epoch:
                attempt.sec, attempt.epoch = sec, epoch
                self._epochs.see(ref.saga_id, epoch)
        elif ref in self.results:
            self.results.resend(ref, sec, epoch)
        elif ref in self.rejections:
            self.rejections.repeat(ref, sec)
        else:
            return False
        return True

    def _refusal(self, attempt: Attempt) -> pb.RejectionReason.ValueType | None:
        """Why an attempt that is new here is not taken."""
        if self.draining:
            return DRAINING
        waiting = self._queued.get(attempt.place)
        here = waiting or self._running.get(attempt.place)
        if here is not None and here.ref.rank >= attempt.ref.rank:
            return STALE_EPOCH
        pool = attempt.pool
        replaced = 1 if waiting is not None and waiting.pool == pool else 0
        if self._held[pool] - replaced >= self._slots[pool] + limits.EXCESS_MAX:
            return NO_CAPACITY
        return None

    def _take(self, attempt: Attempt, now: float) -> None:
        """A later attempt of a node takes the place of one that waits, and waits for one that runs.

        The SEC has given the earlier one up, or it would not have sent another; but here it may still be having its
        effect, and two at once is what no idempotency key protects from.
        """
        place = attempt.place
        self._epochs.see(attempt.ref.saga_id, attempt.epoch)
        waiting, running = self._queued.get(place), self._running.get(place)
        if waiting is not None:
            self._reject(waiting, NO_CAPACITY)
        self._attempts[attempt.ref] = attempt
        self._held[attempt.pool] += 1
        if running is not None:
            self._queued[place] = attempt
            self._stop(running, CancelReason.SUPERSEDED)
        elif self._used[attempt.pool] < self._slots[attempt.pool]:
            self._start(attempt, now)
        else:
            self._queued[place] = attempt
            self._lines[attempt.pool].append(attempt)

    def _start(self, attempt: Attempt, now: float) -> None:
        attempt.state = AttemptState.RUNNING
        self._running[attempt.place] = attempt
        self._used[attempt.pool] += 1
        if attempt.invocation.HasField("start_to_close"):
            allowed = seconds_of(attempt.invocation.start_to_close)
            self._deadlines.add(now + allowed, attempt, alive=len(self._running))
        self.effects.start(attempt)

    def _stop(self, attempt: Attempt, reason: CancelReason) -> None:
        if attempt.cancel_reason is None:
            attempt.cancel_reason = reason
            self.effects.add(Stop(attempt.ref, reason))

    def _advance(self, ended: Attempt, *, succeeded: bool, now: float) -> None:
        """Use what an end has freed: the node, for a later attempt that waits for it, and the slot."""
        waiting = self._queued.get(ended.place)
        if waiting is not None and succeeded and waiting.ref.kind == ended.ref.kind:
            # The node's answer is known, and goes to the SEC before this: running it again would gain nothing.
            self._reject(waiting, NO_CAPACITY)
        elif waiting is not None:
            self._lines[waiting.pool].append(waiting)
            self._fill(waiting.pool, now)
        self._fill(ended.pool, now)

    def _fill(self, pool: str, now: float) -> None:
        line = self._lines[pool]
        while line and self._used[pool] < self._slots[pool]:
            attempt = line.popleft()
            del self._queued[attempt.place]
            self._start(attempt, now)

    def _reject(self, attempt: Attempt, reason: pb.RejectionReason.ValueType) -> None:
        """Only of an attempt that has not started: that is what the word promises."""
        assert attempt.state is AttemptState.QUEUED, attempt.ref
        del self._queued[attempt.place]
        del self._attempts[attempt.ref]
        attempt.state = AttemptState.ENDED
        self._held[attempt.pool] -= 1
        with suppress(ValueError):
            self._lines[attempt.pool].remove(attempt)
        self.rejections.add(attempt.ref, attempt.sec, reason)

    def _drop(self, attempt: Attempt) -> None:
        attempt.state = AttemptState.ENDED
        del self._attempts[attempt.ref]
        del self._running[attempt.place]
        self._used[attempt.pool] -= 1
        self._held[attempt.pool] -= 1
        self.progress.end(attempt.ref)

    def _result(self, attempt: Attempt, outcome: Outcome) -> tuple[pb.InvocationResult, int]:
        """The result and its size in bytes. What can't be sent whole is told as a failure instead."""
        ref, epoch = attempt.invocation.ref, attempt.epoch
        if isinstance(outcome, payload_pb2.Payload):
            message = pb.InvocationResult(ref=ref, epoch=epoch, output=outcome)
            size = message.ByteSize()
            if size <= self.payload_bytes or outcome.ByteSize() <= self.payload_bytes:
                return message, size
            outcome = failures.payload_too_large("the output", outcome.ByteSize(), self.payload_bytes)
        failure = failures.bounded(outcome, self.payload_bytes)
        message = pb.InvocationResult(ref=ref, epoch=epoch, failure=failure)
        return message, message.ByteSize()


FINAL = frozenset(
    {
        pb.RESULT_STATUS_RECORDED,
        pb.RESULT_STATUS_DUPLICATE,
        pb.RESULT_STATUS_SUPERSEDED,
        pb.RESULT_STATUS_NOT_FOUND,
        pb.RESULT_STATUS_INVALID,
    }
)
"""Statuses after which the SEC needs the result no more."""
ROUTINE = frozenset({pb.RESULT_STATUS_RECORDED, pb.RESULT_STATUS_DUPLICATE})
"""Those of them that nobody needs to hear about."""

IN_FLIGHT = {
    AttemptState.QUEUED: pb.IN_FLIGHT_STATE_QUEUED,
    AttemptState.RUNNING: pb.IN_FLIGHT_STATE_RUNNING,
}
"""How a state is told. An attempt that has ended is not held, so it is never looked up here."""
