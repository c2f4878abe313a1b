"""Drives the worker's machine in tests: a SEC made of frames, and a clock that only tests move."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from sagaline.v1 import failure_pb2, payload_pb2, saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from sagaline.worker.durations import duration_of
from sagaline.worker.effects import Effect, EndStream, Forget, Note, Reconnect, Start, Stop
from sagaline.worker.holdings import Holdings
from sagaline.worker.results import Outcome
from sagaline.worker.session import Session, SessionState

T = TypeVar("T")

ACTION = saga_pb2.INVOCATION_KIND_ACTION
UNDO = saga_pb2.INVOCATION_KIND_UNDO
RECORDED = pb.RESULT_STATUS_RECORDED
SERVED: dict[tuple[str, str, int], str] = {("charge", "1", ACTION): "", ("charge", "1", UNDO): ""}
DONE = payload_pb2.Payload(json='"done"')
FAILED = failure_pb2.Failure(type="Declined", disposition=failure_pb2.FAILURE_DISPOSITION_FAIL)
SEC = "sec-a:7233"


def ref(saga: str = "s1", node: str = "pay", kind: int = ACTION, attempt: int = 1) -> Ref:
    return Ref(saga, node, kind, attempt)


def invocation(
    of: Ref, *, epoch: int = 1, action: str = "charge", start_to_close: float | None = None, version: str = "1"
) -> pb.Invocation:
    message = pb.Invocation(
        ref=of.message(),
        action=action,
        version=version,
        idempotency_key=f"{of.saga_id}/{of.node}/{'undo' if of.kind == UNDO else 'action'}",
        epoch=epoch,
        fencing_token=of.attempt,
    )
    if start_to_close is not None:
        message.start_to_close.CopyFrom(duration_of(start_to_close))
    return message


def ack(of: Ref, status: pb.ResultStatus.ValueType = RECORDED, delay: float | None = None) -> pb.ResultAck:
    message = pb.ResultAck(ref=of.message(), status=status)
    if delay is not None:
        message.retry_delay.CopyFrom(duration_of(delay))
    return message


def cancellation(of: Ref, reason: pb.CancellationReason.ValueType) -> pb.Cancellation:
    return pb.Cancellation(ref=of.message(), reason=reason)


def seconds(value: float) -> Duration:
    return duration_of(value)


class Driver:
    """One worker's machine with one session, and the SEC's half of its stream."""

    def __init__(
        self, *, slots: int | Mapping[str, int] = 2, served: Mapping[tuple[str, str, int], str] | None = None
    ) -> None:
        self.now = 1000.0
        self.holdings = Holdings(served or SERVED, {"": slots} if isinstance(slots, int) else slots)
        self.session = Session(SEC, pb.Hello(protocol_version=1, worker_id="w1"), self.holdings)
        self.sequence = 0
        self.effects: list[Effect] = []
        self.frames: list[pb.ConnectRequest] = []
        self.started: list[Ref] = []

    # ---- the stream

    def open(self) -> pb.ConnectRequest:
        """A stream is open; returns its hello."""
        self.sequence = 0
        self._keep(self.session.opened(self.now))
        hello = self.pull()
        assert hello is not None
        return hello

    def welcome(self, **fields: object) -> list[Effect]:
        """The SEC welcomes."""
        fields.setdefault("protocol_version", 1)
        fields.setdefault("sec_id", "a")
        return self.send(welcome=pb.Welcome(**fields))  # type: ignore[arg-type]

    def connect(self, **fields: object) -> pb.ConnectRequest:
        """Open and welcome; returns the hello."""
        hello = self.open()
        self.welcome(**fields)
        return hello

    def send(self, **fields: object) -> list[Effect]:
        """A frame from the SEC."""
        self.sequence += 1
        return self._keep(
            self.session.received(pb.ConnectResponse(sequence=self.sequence, **fields), self.now)  # type: ignore[arg-type]
        )

    def invoke(self, *invocations: pb.Invocation) -> list[Effect]:
        """A frame of invocations."""
        return self.send(invocations=invocations)

    def pull(self) -> pb.ConnectRequest | None:
        """The next frame, written at once."""
        frame = self.session.next_frame(self.now)
        if frame is not None:
            self.frames.append(frame)
            self._keep(self.session.written(self.now))
        return frame

    def pull_all(self) -> list[pb.ConnectRequest]:
        """Everything that can be written now."""
        frames = []
        while (frame := self.pull()) is not None:
            frames.append(frame)
        return frames

    def break_stream(self, draw: float = 0.5) -> list[Effect]:
        """The stream is over."""
        return self._keep(self.session.ended(self.now, "broken", draw))

    def state(self) -> SessionState:
        """Where the session stands now."""
        return self.session.state

    # ---- user code and time

    def finish(self, of: Ref, outcome: Outcome = DONE) -> None:
        """User code of an attempt ends."""
        self.holdings.finished(of, outcome, self.now)
        self._keep(self.holdings.effects.take())

    def drain(self, timeout: float = 30.0) -> list[Effect]:
        """The worker is told to leave."""
        self.holdings.drain(self.now, timeout)
        return self._keep(self.session.tick(self.now))

    def pass_time(self, span: float, lag: float = 0.0) -> list[Effect]:
        """Let time pass and tick once."""
        self.now += span
        self.holdings.tick(self.now)
        return self._keep(self.session.tick(self.now, lag))

    def _keep(self, effects: list[Effect]) -> list[Effect]:
        self.effects += effects
        self.started += [attempt.ref for effect in of_type(effects, Start) for attempt in effect.attempts]
        return effects

    # ---- what was said

    def said_results(self) -> list[Ref]:
        return [Ref.of(result.ref) for frame in self.frames for result in frame.results]

    def said_rejections(self) -> list[tuple[Ref, int]]:
        return [(Ref.of(item.ref), item.reason) for frame in self.frames for item in frame.rejections]

    def stopped(self) -> list[tuple[Ref, str]]:
        return [(effect.ref, str(effect.reason)) for effect in of_type(self.effects, Stop)]

    def forgotten(self) -> list[Ref]:
        return [forgotten for effect in of_type(self.effects, Forget) for forgotten in effect.refs]

    def reconnects(self) -> list[Reconnect]:
        return of_type(self.effects, Reconnect)

    def notes(self) -> list[str]:
        return [effect.event for effect in of_type(self.effects, Note)]


def of_type(effects: Iterable[Effect], kind: type[T]) -> list[T]:
    return [effect for effect in effects if isinstance(effect, kind)]


def ends(effects: Iterable[Effect]) -> list[EndStream]:
    return of_type(effects, EndStream)


def in_flight(report: pb.InFlightReport) -> dict[Ref, int]:
    return {Ref.of(entry.ref): entry.state for entry in report.entries}
