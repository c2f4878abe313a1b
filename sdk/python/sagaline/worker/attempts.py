"""What a worker holds: an attempt, from its invocation to the end of user code. Then its result takes its place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from typing import NamedTuple

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb

ACTION = int(saga_pb2.INVOCATION_KIND_ACTION)
UNDO = int(saga_pb2.INVOCATION_KIND_UNDO)


class Ref(NamedTuple):
    """Names one attempt, on every SEC and every stream."""

    saga_id: str
    node: str
    kind: int
    attempt: int

    @classmethod
    def of(cls, message: pb.InvocationRef) -> Ref:
        """The same name as a value that can be a key."""
        return cls(message.saga_id, message.node, message.kind, message.attempt)

    def message(self) -> pb.InvocationRef:
        """The same name as it goes over the wire."""
        return pb.InvocationRef(
            saga_id=self.saga_id,
            node=self.node,
            kind=saga_pb2.InvocationKind.ValueType(self.kind),
            attempt=self.attempt,
        )

    @property
    def rank(self) -> tuple[int, int]:
        """Grows in the order in which a SEC may ever send attempts of a node: undo comes after action."""
        return self.kind, self.attempt

    def is_valid(self) -> bool:
        """Whether it names an attempt at all."""
        return bool(self.saga_id and self.node) and self.attempt > 0


OwnerOf = Callable[[Ref, str], tuple[str, int] | None]
"""Whose an attempt is, which was this SEC's until now, and under which epoch. None: that has not changed."""


class CancelReason(StrEnum):
    """Why an attempt was asked to stop."""

    SAGA_UNWINDING = "saga_unwinding"
    """The saga unwinds; what this attempt does will be undone. Advice, no order: see `is_advice`."""
    TIMED_OUT = "timed_out"
    """Its time is over: it ran, or was silent, for too long."""
    SUPERSEDED = "superseded"
    """A later attempt, or an operator, decided the node."""
    NOT_FOUND = "not_found"
    """The SEC does not know the attempt."""
    WORKER_STOPPING = "worker_stopping"
    """This worker leaves and its drain time is over."""

    @property
    def is_advice(self) -> bool:
        """Whether the attempt may as well go on.

        That a saga unwinds is no reason to tear an attempt down: what it did would then not be known, and the action
        would have to run again before it could be undone.
        """
        return self is CancelReason.SAGA_UNWINDING


class AttemptState(Enum):
    """Where an attempt stands on this worker."""

    QUEUED = "queued"
    """Waits for a slot, or for an earlier attempt of its node to end. Has not run: it can still be rejected."""
    RUNNING = "running"
    """Handed to user code. Whatever comes now, it may have had its effect: only a result can answer it."""
    ENDED = "ended"
    """Its answer is kept until it is confirmed; the attempt itself is held no more."""


@dataclass(slots=True, eq=False)
class Attempt:
    """One attempt that this worker was sent and has not ended."""

    ref: Ref
    invocation: pb.Invocation
    pool: str
    sec: str
    """The SEC that its result goes to: the last that sent or adopted it, or that its saga moved to; "" if unknown."""
    epoch: int
    """Ownership epoch under which it was last received or adopted."""
    state: AttemptState = AttemptState.QUEUED
    cancel_reason: CancelReason | None = None
    """Why it was asked to stop: the first order, or an advice before there is one."""
    place: tuple[str, str] = field(init=False)
    """Saga and node: of these, user code runs once at a time, whatever the side."""

    def __post_init__(self) -> None:
        self.place = self.ref.saga_id, self.ref.node
