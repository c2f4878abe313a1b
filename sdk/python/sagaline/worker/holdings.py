"""What this worker process holds, whichever SEC it came from: slots, attempts, and answers not yet confirmed.

One for each worker; the sessions, one for each SEC, feed it and write what it has for them. Its promises:

- User code runs for each attempt at most once, and of each node at most one attempt at a time, whatever the side.
  An attempt that is sent again is attached to the one that is here.
- Every attempt taken is answered: by a result once it was handed to user code, whatever happens, and by a rejection
  only before. Answers are kept until a SEC has confirmed them, and follow their saga from SEC to SEC.
- Never more running than slots, never more held than slots and a small excess.
- No attempt of a lower epoch starts after a higher one of the same saga was seen.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping

from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures, limits
from sagaline.worker.attempts import Attempt, AttemptState, CancelReason, OwnerOf, Ref
from sagaline.worker.effects import Effects
from sagaline.worker.epochs import Epochs
from sagaline.worker.progress import ProgressBox
from sagaline.worker.rejections import Rejections
from sagaline.worker.results import Outcome, Results, result_message
from sagaline.worker.slots import Slots
from sagaline.worker.streams import Streams
from sagaline.worker.windows import Windows

CANCELLED = pb.REJECTION_REASON_CANCELLED
DRAINING = pb.REJECTION_REASON_DRAINING
NO_CAPACITY = pb.REJECTION_REASON_NO_CAPACITY
STALE_EPOCH = pb.REJECTION_REASON_STALE_EPOCH
UNKNOWN_ACTION = pb.REJECTION_REASON_UNKNOWN_ACTION

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
        self.streams = Streams()
        self.results = Results(unacked_bytes_max, unacked_results_max)
        self.rejections = Rejections(limits.UNCONFIRMED_REJECTIONS_MAX)
        self._slots = Slots(slots, self.effects, self.rejections)
        self.windows = Windows(slots, self._slots.by_sec_and_pool)
        self.progress = ProgressBox()
        self.payload_bytes = limits.PAYLOAD_BYTES
        self.draining = False
        self.given_up = False
        """The drain's time is over, and so is the grace for what still ran: sessions close whatever is left."""
        self._served = served
        self._epochs = Epochs()
        self._payload_bytes: dict[str, int] = {}
        self._members: set[str] | None = None
        self._drain_at: float | None = None
        self._give_up_at: float | None = None

    # ---- streams

    def opened(self, address: str) -> int:
        """A stream to this address begins; returns its number."""
        self.windows.opened(address)
        return self.streams.opened(address)

    def welcomed(self, address: str, sec: str, payload_bytes: int, now: float) -> None:
        """It is this SEC's, which takes payloads up to this size; all that is unconfirmed is to be said again on it."""
        self.streams.welcomed(address, sec)
        self.windows.welcomed(address, sec, now)
        self._payload_bytes[address] = payload_bytes
        self._fit()
        self.results.opened(sec, now)
        self.rejections.opened(sec)
        self.progress.resend_all(sec)

    def ended(self, address: str, now: float) -> None:
        """The stream to this address is over."""
        sec = self.streams.ended(address)
        self.windows.ended(address, now)
        self._payload_bytes.pop(address, None)
        if sec is not None:
            self.results.closed(sec, now)
            self.rejections.closed(sec)
            self.progress.closed(sec)
            if self._is_gone(sec):
                self.rejections.release(lambda other: other == sec)

    def members(self, secs: Iterable[pb.Sec]) -> None:
        """These SECs live, and no others."""
        self._members = {sec.sec_id for sec in secs}
        for sec in secs:
            self.results.routes.learn(sec.sec_id, sec.address)
        self.rejections.release(self._is_gone)

    def _is_gone(self, sec: str) -> bool:
        return self._members is not None and sec not in self._members and not self.results.routes.is_open(sec)

    def _fit(self) -> None:
        """Keep to the lowest limit for payloads. What was kept under a higher one would never fit into a frame."""
        self.payload_bytes = min(self._payload_bytes.values())
        for ref, message in self.results.messages():
            size = message.output.ByteSize()
            if size > self.payload_bytes:
                failure = failures.payload_too_large("the output", size, self.payload_bytes)
                self.results.replace(ref, pb.InvocationResult(ref=message.ref, epoch=message.epoch, failure=failure))

    # ---- what comes from a SEC

    def receive(self, invocation: pb.Invocation, sec: str, now: float) -> None:
        """An invocation: attach it to what is here, take it, or reject it."""
        ref, epoch = Ref.of(invocation.ref), invocation.epoch
        if not ref.is_valid():
            self.effects.note(logging.ERROR, "invocation without a name ignored", sec=sec, ref=ref)
        elif not self._attach(ref, sec, epoch, now):
            pool = self._served.get((invocation.action, invocation.version, ref.kind))
            attempt = Attempt(ref, invocation, pool or "", sec, epoch)
            reason = UNKNOWN_ACTION if pool is None else self._refusal(attempt)
            if self._epochs.is_stale(ref.saga_id, epoch):
                reason = STALE_EPOCH
            if reason is not None:
                self.rejections.add(ref, sec, reason)
            else:
                self._epochs.see(ref.saga_id, epoch)
                self._slots.take(attempt, now)

    def _refusal(self, attempt: Attempt) -> pb.RejectionReason.ValueType | None:
        if self.draining:
            return DRAINING
        return self._slots.refusal(attempt, limits.EXCESS_MAX * max(self.windows.stream_count, 1))

    def acknowledge(self, ack: pb.ResultAck, lane: str, now: float) -> None:
        """The fate of a result, told on a lane of `Results`."""
        ref = self.results.acknowledge(ack, lane, now)
        if ref is not None:
            self._forgotten(ref, ack)

    def called(self, address: str, acks: list[pb.ResultAck] | None, now: float) -> None:
        """A call with results has ended; None: without an answer."""
        for ref, ack in self.results.called(address, acks, now):
            self._forgotten(ref, ack)

    def _forgotten(self, ref: Ref, ack: pb.ResultAck) -> None:
        self.effects.forget(ref)
        if ack.status not in ROUTINE:
            status = pb.ResultStatus.Name(ack.status)
            self.effects.note(logging.WARNING, "result not taken", ref=ref, status=status, why=ack.message)

    def cancel(self, ref: Ref, reason: CancelReason) -> bool:
        """A SEC's wish to stop an attempt. False if the attempt is not held here."""
        attempt = self._slots.attempts.get(ref)
        if attempt is None:
            return ref in self.results or ref in self.rejections
        if attempt.state is AttemptState.QUEUED:
            self._slots.reject(attempt, CANCELLED)
        else:
            self._slots.stop(attempt, reason)
        return True

    def move(self, sec: str, moves: Iterable[pb.SagaMoved], now: float) -> None:
        """Sagas left a SEC. What is held of them is answered to their new owners, where these are known."""
        owners: dict[str, str] = {}
        for move in moves:
            if not self._epochs.is_stale(move.saga_id, move.epoch):
                self._epochs.see(move.saga_id, move.epoch)
                self.results.routes.learn(move.owner.sec_id, move.owner.address)
                owners[move.saga_id] = move.owner.sec_id

        def owner_of(ref: Ref, present: str) -> tuple[str, int] | None:
            owner = owners.get(ref.saga_id)
            # An adoption may have come first; only the SEC that gave the saga away is wrong by now.
            return (owner, 0) if owner is not None and (owner or present == sec) else None

        self._reassign(owner_of, now)

    def adopt(self, sec: str, adoptions: Iterable[pb.Adoption], now: float) -> None:
        """A SEC has taken sagas over: from here on what is held of them is answered there."""
        epochs: dict[str, int] = {}
        for adoption in adoptions:
            if not self._epochs.is_stale(adoption.saga_id, adoption.epoch):
                self._epochs.see(adoption.saga_id, adoption.epoch)
                epochs[adoption.saga_id] = adoption.epoch

        def owner_of(ref: Ref, _present: str) -> tuple[str, int] | None:
            epoch = epochs.get(ref.saga_id)
            return (sec, epoch) if epoch is not None else None

        self._reassign(owner_of, now)

    def _reassign(self, owner_of: OwnerOf, now: float) -> None:
        for attempt in self._slots.attempts.values():
            moved = owner_of(attempt.ref, attempt.sec)
            if moved is not None:
                attempt.sec, attempt.epoch = moved[0], max(attempt.epoch, moved[1])
                self.progress.assign(attempt.ref, attempt.sec)
        self.results.reassign(owner_of, now)
        self.rejections.reassign(owner_of)

    # ---- what comes from the executor

    def finished(self, ref: Ref, outcome: Outcome, now: float) -> None:
        """User code ended. Its slot is free at once; the window is, when the result has been written."""
        attempt = self._slots.attempts.get(ref)
        if attempt is None or attempt.state is not AttemptState.RUNNING:
            self.effects.note(logging.ERROR, "outcome of an attempt that does not run", ref=ref)
            return
        self._slots.drop(attempt)
        self.progress.end(ref)
        message, size = result_message(attempt, outcome, self.payload_bytes)
        self.results.add(ref, attempt.sec, message, size, now)
        self._slots.advance(attempt, succeeded=isinstance(outcome, payload_pb2.Payload), now=now)

    def not_started(self, ref: Ref, now: float) -> None:
        """The executor did not hand an attempt to user code, and never will."""
        attempt = self._slots.attempts.get(ref)
        if attempt is not None and attempt.state is AttemptState.RUNNING:
            self._slots.drop(attempt)
            self.progress.end(ref)
            self.rejections.add(ref, attempt.sec, NO_CAPACITY if attempt.cancel_reason is None else CANCELLED)
            self._slots.advance(attempt, succeeded=False, now=now)

    def report_progress(self, ref: Ref, details: payload_pb2.Payload | None, now: float) -> None:
        """User code is alive. Told late, after its end, it means nothing any more."""
        attempt = self._slots.attempts.get(ref)
        if attempt is not None and attempt.state is AttemptState.RUNNING:
            self.progress.report(ref, attempt.sec, details, now)

    # ---- leaving, and time

    def drain(self, now: float, timeout: float) -> None:
        """Take nothing more, hand back what has not started, and let run what runs. Again: it can only get shorter."""
        until = now + max(timeout, 0.0)
        self._drain_at = until if self._drain_at is None else min(until, self._drain_at)
        self.draining = True
        for attempt in list(self._slots.queued.values()):
            self._slots.reject(attempt, DRAINING)

    def drain_left(self, now: float) -> float:
        """Seconds until what still runs will be cancelled."""
        return max(0.0, self._drain_at - now) if self._drain_at is not None else 0.0

    def tick(self, now: float) -> None:
        """Do what is due."""
        self._slots.tick(now)
        self.results.wake(now)
        self.progress.wake(now)
        self.windows.tick(now)
        if self._drain_at is not None and self._give_up_at is None and now >= self._drain_at:
            self._give_up_at = now + limits.CANCEL_GRACE_SECONDS
            for attempt in self._slots.running.values():
                self._slots.stop(attempt, CancelReason.WORKER_STOPPING)
        if self._give_up_at is not None and now >= self._give_up_at:
            self.given_up = True

    def next_deadline(self) -> float | None:
        """When `tick` has something to do."""
        drain = self._drain_at if self._give_up_at is None else self._give_up_at
        deadline: float | None = None
        for time in (
            self._slots.next_deadline(),
            self.results.next_wake(),
            self.progress.next_wake(),
            self.windows.split_at,
            None if self.given_up else drain,
        ):
            if time is not None and (deadline is None or time < deadline):
                deadline = time
        return deadline

    # ---- what sessions ask

    @property
    def closed(self) -> bool:
        """Whether no SEC is to send anything more at present."""
        return self.draining or self.results.full

    @property
    def busy(self) -> bool:
        """Whether anything is left to be done: an attempt that has not ended, or a result that no SEC has."""
        return bool(self._slots.attempts) or len(self.results) > 0

    def report(self, sec: str | None) -> Iterator[tuple[Ref, pb.InFlightState.ValueType]]:
        """Everything of this SEC that is held; None: of all.

        What was rejected and is not confirmed stands as queued, which is what it was: the rejection follows, and
        until then the SEC must not take the attempt for lost.
        """
        for attempt in self._slots.attempts.values():
            if sec is None or attempt.sec == sec:
                yield attempt.ref, IN_FLIGHT[attempt.state]
        for ref in self.results.of(sec):
            yield ref, pb.IN_FLIGHT_STATE_RESULT_PENDING
        for ref in self.rejections.of(sec):
            yield ref, pb.IN_FLIGHT_STATE_QUEUED

    def state_of(self, ref: Ref) -> pb.InFlightState.ValueType:
        """Where one attempt stands."""
        attempt = self._slots.attempts.get(ref)
        if attempt is not None:
            return IN_FLIGHT[attempt.state]
        if ref in self.results:
            return pb.IN_FLIGHT_STATE_RESULT_PENDING
        return pb.IN_FLIGHT_STATE_QUEUED if ref in self.rejections else pb.IN_FLIGHT_STATE_NOT_HELD

    def counts(self) -> tuple[int, int]:
        """Attempts held, and bytes of results without a final acknowledgement."""
        return len(self._slots.attempts) + len(self.results), self.results.bytes

    def left_running(self) -> Iterable[Attempt]:
        """Attempts whose user code has not ended."""
        return self._slots.running.values()

    # ---- inside

    def _attach(self, ref: Ref, sec: str, epoch: int, now: float) -> bool:
        """True if this attempt is here already: it is then neither run again nor rejected, whatever its epoch.

        From a SEC that lost the saga it changes nothing; another one is answered from here on.
        """
        attempt = self._slots.attempts.get(ref)
        if attempt is None and ref not in self.results.held and ref not in self.rejections.held:
            return False
        is_owner = not self._epochs.is_stale(ref.saga_id, epoch)
        if is_owner:
            self._epochs.see(ref.saga_id, epoch)
        if ref in self.rejections:
            self.rejections.repeat(ref, sec, owner=is_owner)
        elif not is_owner:
            return True
        elif attempt is not None:
            attempt.sec, attempt.epoch = sec, max(attempt.epoch, epoch)
            self.progress.assign(ref, sec)
        else:
            self.results.assign(ref, sec, epoch, now)
        return True


ROUTINE = frozenset({pb.RESULT_STATUS_RECORDED, pb.RESULT_STATUS_DUPLICATE})
"""Final statuses that nobody needs to hear about."""

IN_FLIGHT = {
    AttemptState.QUEUED: pb.IN_FLIGHT_STATE_QUEUED,
    AttemptState.RUNNING: pb.IN_FLIGHT_STATE_RUNNING,
}
"""How a state is told. An attempt that has ended is not held, so it is never looked up here."""
