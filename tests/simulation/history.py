"""What has happened, as the checkers see it: told at the moment at which it becomes true."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from sagaline_server.core.entries import Kind, Stamped
from sagaline_server.core.turn import Turn
from sagaline_server.ports.store import Append, Claim, NewSaga, OwnedSaga, Write, WriteResult
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.wire.entries import decode_batch
from tests.simulation.loop import Simulator
from tests.simulation.processes import Process

RESULTS_KEPT = 30


class Violation(msgspec.Struct, frozen=True):
    """Something that must not happen, and did."""

    checker: str
    time: float
    what: str

    def __str__(self) -> str:
        return f"{self.checker} at {self.time:.6f}: {self.what}"


class Written(msgspec.Struct, frozen=True):
    """A write that has just become durable."""

    saga_id: str
    sec_id: str
    incarnation: int
    write: Write
    result: WriteResult
    entries: list[Stamped]


class Observer:
    """What may be overridden to look at what happens. Nothing here may change anything."""

    def written(self, written: Written) -> None:
        """A write has become durable."""

    def owned(self, owner: OwnedSaga) -> None:
        """A saga has an owner from now on."""

    def adopted(self, old: OwnedSaga, new: OwnedSaga) -> None:
        """A saga was taken from its old owner."""

    def removed(self, saga_id: str) -> None:
        """A saga's log has been removed."""

    def deleted(self, saga_id: str) -> None:
        """Nothing is left of a saga in the store. Its log, if it had one until now, is told of after this."""

    def not_found(self, saga_id: str) -> None:
        """A client was told that there is no such saga."""

    def handed_off(self, sec_id: str, incarnation: int, claim: Claim) -> None:
        """A SEC has given a saga away."""

    def fenced(self, sec_id: str, incarnation: int, write: Append) -> None:
        """An append was refused by the fence."""

    def dispatched(self, sec: Process, invocation: pb.Invocation) -> None:
        """A SEC has decided that an invocation leaves now."""

    def reserved(self, sec: Process, live: LiveSaga, node: int, kind: Kind) -> None:
        """A SEC means to start an attempt, and has a slot for it."""

    def decided(self, sec: Process, live: LiveSaga, turn: Turn) -> None:
        """A SEC has decided a turn, and writes it now."""

    def admitted(self, sec: Process, live: LiveSaga) -> None:
        """A SEC lets a saga run in its scopes."""

    def let_go(self, sec: Process, saga_id: str, node: str) -> None:
        """A SEC counts no longer what it has in flight of a node, or of all nodes (""); it may run on."""

    def shares_changed(self, sec: Process) -> None:
        """A SEC has other shares of the limits than before, or may have."""

    def frame_left(self, sec: Process, worker: Process, frame: pb.ConnectResponse) -> None:
        """A frame leaves a SEC for a worker."""

    def acked(self, sec_id: str, ack: pb.ResultAck) -> None:
        """A SEC has answered a call that told it a result."""

    def run_began(self, worker: Process, ref: Ref, epoch: int) -> None:
        """User code of an attempt begins."""

    def run_ended(self, worker: Process, ref: Ref) -> None:
        """User code of an attempt has ended."""

    def effect(self, key: tuple[str, str], what: str) -> None:
        """Something happened to a node's effect: applied, undone, or late (an action after its undo)."""

    def died(self, process: Process) -> None:
        """A process was killed, or has ended."""

    def acknowledged(self, saga_id: str, digest: bytes) -> None:
        """A client was told that its saga exists."""

    def viewed(self, sec_id: str, view: saga_pb2.Saga, asked: float) -> None:
        """A client was shown a saga that it had asked for at some time."""

    def obeyed(self, saga_id: str, order: object) -> None:
        """A client was told that its order is durable."""

    def watched(self, watch: object, entries: Sequence[Stamped], saga_id: str) -> None:
        """A client was shown entries by a watch."""

    def watch_ended(self, watch: object, saga_id: str, following: int) -> None:
        """A watch told its client that the saga has ended; `following` is the first entry that it has not shown."""

    def looked(self) -> None:
        """Some time has passed: look at whatever is to be looked at now and then."""

    def finish(self, *, complete: bool) -> None:
        """The run is over; `complete` when every saga has ended."""


HOOKS = tuple(name for name in vars(Observer) if not name.startswith("_"))


class History:
    """Tells the observers, and keeps the trace and a digest of it."""

    def __init__(self, sim: Simulator, *, tracing: bool) -> None:
        """Begin a history."""
        self.sim = sim
        self.tracing = tracing
        self.trace: list[str] = []
        self.violation: Violation | None = None
        self.digest = 0
        self.counts: dict[str, int] = {}
        self.results: deque[tuple[str, pb.InvocationResult]] = deque(maxlen=RESULTS_KEPT)
        """What workers said at the ends of the last attempts, and who."""
        self._observers: dict[str, list[Callable[..., None]]] = {hook: [] for hook in HOOKS}

    def add(self, observer: Observer) -> None:
        """Let somebody look."""
        for hook in HOOKS:
            if getattr(type(observer), hook) is not getattr(Observer, hook):
                self._observers[hook].append(getattr(observer, hook))

    def fail(self, checker: str, what: str) -> None:
        """Note a violation, and end the run."""
        if self.violation is None:
            self.violation = Violation(checker, self.sim.now, what)
            self.note(checker, f"VIOLATION {what}")
        self.sim.stopped = True

    def note(self, who: str, what: str) -> None:
        """Put a line into the trace."""
        if self.tracing:
            self.trace.append(f"{self.sim.now:12.6f} {who:<12} {what}")

    def count(self, what: str) -> None:
        """Count something, for the summary."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def _tell(self, hook: str, *args: Any) -> None:
        for call in self._observers[hook]:
            call(*args)

    # ---- what is told

    def written(self, sec_id: str, incarnation: int, write: Write, result: WriteResult) -> None:
        saga_id = write.saga_id if isinstance(write, NewSaga) else write.claim.saga_id
        entries = decode_batch(write.batch) if write.batch else []
        self.digest = zlib.crc32(write.batch, zlib.crc32(repr(self.sim.now).encode(), self.digest))
        if self.tracing:
            self.note(sec_id, f"writes {saga_id} {_entries(entries)}")
        self._tell("written", Written(saga_id, sec_id, incarnation, write, result, entries))

    def owned(self, owner: OwnedSaga) -> None:
        if self.tracing:
            self.note(owner.sec_id, f"owns {owner.saga_id} in epoch {owner.epoch} as incarnation {owner.incarnation}")
        self._tell("owned", owner)

    def adopted(self, old: OwnedSaga, new: OwnedSaga) -> None:
        self._tell("adopted", old, new)

    def removed(self, saga_id: str) -> None:
        self.note("store", f"has no log of {saga_id} any more")
        self.count("log removed")
        self._tell("removed", saga_id)

    def deleted(self, saga_id: str) -> None:
        self.note("store", f"has nothing of {saga_id} any more")
        self.count("removed")
        self._tell("deleted", saga_id)

    def not_found(self, saga_id: str) -> None:
        self._tell("not_found", saga_id)

    def handed_off(self, sec_id: str, incarnation: int, claim: Claim) -> None:
        self.note(sec_id, f"has handed {claim.saga_id} off, ending epoch {claim.epoch}")
        self._tell("handed_off", sec_id, incarnation, claim)

    def fenced(self, sec_id: str, incarnation: int, write: Append) -> None:
        self.note(sec_id, f"is fenced: {write.claim.saga_id} entry {write.first_seq} in epoch {write.claim.epoch}")
        self._tell("fenced", sec_id, incarnation, write)

    def dispatched(self, sec: Process, invocation: pb.Invocation) -> None:
        self._tell("dispatched", sec, invocation)

    def reserved(self, sec: Process, live: LiveSaga, node: int, kind: Kind) -> None:
        self._tell("reserved", sec, live, node, kind)

    def decided(self, sec: Process, live: LiveSaga, turn: Turn) -> None:
        self._tell("decided", sec, live, turn)

    def admitted(self, sec: Process, live: LiveSaga) -> None:
        self._tell("admitted", sec, live)

    def let_go(self, sec: Process, saga_id: str, node: str) -> None:
        self._tell("let_go", sec, saga_id, node)

    def shares_changed(self, sec: Process) -> None:
        self.note(sec.name, "takes its shares of limits anew")
        self._tell("shares_changed", sec)

    def frame_left(self, sec: Process, worker: Process, frame: pb.ConnectResponse) -> None:
        if self.tracing:
            self.note(sec.name, f"sends {worker.name} {_frame(frame)}")
        self._tell("frame_left", sec, worker, frame)

    def acked(self, sec_id: str, ack: pb.ResultAck) -> None:
        self._tell("acked", sec_id, ack)

    def run_began(self, worker: Process, ref: Ref, epoch: int) -> None:
        self.digest = zlib.crc32(f"{self.sim.now!r} {worker.name} {ref}".encode(), self.digest)
        if self.tracing:
            self.note(worker.name, f"begins {_ref(ref)} in epoch {epoch}")
        self._tell("run_began", worker, ref, epoch)

    def run_ended(self, worker: Process, ref: Ref) -> None:
        if self.tracing:
            self.note(worker.name, f"ends {_ref(ref)}")
        self._tell("run_ended", worker, ref)

    def effect(self, key: tuple[str, str], what: str) -> None:
        self.note("world", f"{key[0]}/{key[1]} {what}")
        self._tell("effect", key, what)

    def died(self, process: Process) -> None:
        self.note(process.name, "dies")
        self._tell("died", process)

    def acknowledged(self, saga_id: str, digest: bytes) -> None:
        self._tell("acknowledged", saga_id, digest)

    def viewed(self, sec_id: str, view: saga_pb2.Saga, asked: float) -> None:
        self._tell("viewed", sec_id, view, asked)

    def obeyed(self, saga_id: str, order: object) -> None:
        self._tell("obeyed", saga_id, order)

    def watched(self, watch: object, entries: Sequence[Stamped], saga_id: str) -> None:
        self._tell("watched", watch, entries, saga_id)

    def watch_ended(self, watch: object, saga_id: str, following: int) -> None:
        self._tell("watch_ended", watch, saga_id, following)

    def looked(self) -> None:
        self._tell("looked")

    def finish(self, *, complete: bool) -> None:
        for call in self._observers["finish"]:
            call(complete=complete)


def _entries(entries: Sequence[Stamped]) -> str:
    if not entries:
        return "nothing but requests consumed"
    told = ", ".join(_entry(stamped) for stamped in entries)
    return f"[{entries[0].seq}] epoch {entries[0].epoch}: {told}"


def _entry(stamped: Stamped) -> str:
    entry = stamped.entry
    words = [type(entry).__name__]
    for field in ("node", "attempt", "outcome", "worker_id", "how", "resolution", "cause", "state", "paused"):
        value = getattr(entry, field, None)
        if value is not None:
            words.append(str(getattr(value, "name", value)))
    failure = getattr(entry, "failure", None)
    if failure is not None:
        words.append(f"({failure.type}: {failure.message})")
    return " ".join(words)


def _frame(frame: pb.ConnectResponse) -> str:
    parts = [f"#{frame.sequence}"]
    parts += [f"invocation {_ref(Ref.of(item.ref))} epoch {item.epoch}" for item in frame.invocations]
    for cancellation in frame.cancellations:
        reason = pb.CancellationReason.Name(cancellation.reason).removeprefix("CANCELLATION_REASON_")
        parts.append(f"cancel {_ref(Ref.of(cancellation.ref))} {reason}")
    for ack in frame.result_acks:
        status = pb.ResultStatus.Name(ack.status).removeprefix("RESULT_STATUS_")
        parts.append(f"ack {_ref(Ref.of(ack.ref))} {status}")
    for adoption in frame.adoptions:
        refs = ", ".join(_ref(Ref.of(ref)) for ref in adoption.refs)
        parts.append(f"adoption {adoption.saga_id} epoch {adoption.epoch}: {refs}")
    parts += [f"moved {move.saga_id} to {move.owner.sec_id} epoch {move.epoch}" for move in frame.saga_moves]
    parts += [name for name in ("welcome", "reconcile", "go_away", "secs") if frame.HasField(name)]
    return "; ".join(parts)


def _ref(ref: Ref) -> str:
    side = "action" if ref.kind == 1 else "undo"
    return f"{ref.saga_id}/{ref.node}/{side}/{ref.attempt}"
