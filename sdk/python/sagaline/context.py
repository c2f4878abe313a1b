"""What an action or undo action is told about its attempt, and what it can say while it runs.

An action asks for it with a first parameter annotated `Context`; code further down gets it from `current_context()`.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar, overload

from sagaline.errors import AttemptCancelled, FailureInfo
from sagaline.latch import Latch
from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.values import decode, encode
from sagaline.worker.attempts import UNDO, CancelReason
from sagaline.worker.durations import seconds_of

__all__ = ["STABLE_ID_NAMESPACE", "CancelReason", "Context", "Kind", "UndoInfo", "current_context"]

T = TypeVar("T")

STABLE_ID_NAMESPACE = uuid.UUID("81a05ee2-a37c-5762-a96f-1edde0101c46")
"""Name space of `Context.stable_id`, the same in every language's SDK."""

TellProgress = Callable[[payload_pb2.Payload | None], None]


class Kind(StrEnum):
    """Which side of a node runs."""

    ACTION = "action"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class UndoInfo:
    """What an undo action is told of the action it reverses."""

    action_succeeded: bool
    """False: no definite answer of the action was ever had. It may have run, not have run, or still arrive."""
    action_idempotency_key: str
    """The key that every attempt of the action carried: what it did elsewhere can be looked up by it."""
    saga_failure: FailureInfo | None
    """Why the saga unwinds; None if that is not told."""


class Context:
    """One attempt of an action or undo action. Made by the worker; good from any thread while the attempt runs.

    Args:
        invocation: What the SEC sent.
        tell_progress: Takes the progress that user code reports; from any thread.
    """

    __slots__ = ("_cancel_reason", "_invocation", "_started", "_tell_progress", "cancelled")

    cancelled: Latch
    """Set when the attempt is asked to stop: `if context.cancelled:`, `context.cancelled.wait(seconds)` in a thread,
    `await context.cancelled` in a coroutine. An `async def` action also gets `asyncio.CancelledError`, unless the saga
    merely unwinds (`cancel_reason` is `SAGA_UNWINDING`): then it may as well finish, for what it did will be undone,
    or end early with `Failed` where it is certain that nothing took effect."""

    def __init__(self, invocation: pb.Invocation, tell_progress: TellProgress) -> None:
        self._invocation = invocation
        self._tell_progress = tell_progress
        self._started = time.monotonic()
        self._cancel_reason: CancelReason | None = None
        self.cancelled = Latch()

    def __repr__(self) -> str:
        return f"<Context {self.idempotency_key} attempt {self.attempt}>"

    @property
    def saga_id(self) -> str:
        """Id of the saga."""
        return self._invocation.ref.saga_id

    @property
    def node(self) -> str:
        """Name of the node, with the subsagas it is in: "server/pick"."""
        return self._invocation.ref.node

    @property
    def kind(self) -> Kind:
        """Which side runs."""
        return Kind.UNDO if self._invocation.ref.kind == UNDO else Kind.ACTION

    @property
    def attempt(self) -> int:
        """Number of the attempt, from 1."""
        return self._invocation.ref.attempt

    @property
    def action(self) -> str:
        """Registered name of the action."""
        return self._invocation.action

    @property
    def version(self) -> str:
        """Version of the action."""
        return self._invocation.version

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this side of this node, for ever: pass it to third-party APIs."""
        return self._invocation.idempotency_key

    @property
    def fencing_token(self) -> int:
        """Grows with every attempt, action before undo, across SECs: lets your stores refuse older writers."""
        return self._invocation.fencing_token

    @property
    def epoch(self) -> int:
        """Which ownership of the saga sent the attempt."""
        return self._invocation.epoch

    @property
    def labels(self) -> Mapping[str, str]:
        """Labels of the saga."""
        return dict(self._invocation.labels)

    @property
    def trace_context(self) -> Mapping[str, str]:
        """W3C trace context to make spans below: `traceparent`, `tracestate`."""
        return dict(self._invocation.trace_context)

    @property
    def undo(self) -> UndoInfo | None:
        """What is known of the action; None unless this is its undo action."""
        if not self._invocation.HasField("undo"):
            return None
        undo = self._invocation.undo
        failure = undo.saga_failure if undo.HasField("saga_failure") else None
        return UndoInfo(
            action_succeeded=undo.action_outcome == pb.ACTION_OUTCOME_SUCCEEDED,
            action_idempotency_key=undo.action_idempotency_key,
            saga_failure=FailureInfo(failure.type, failure.message) if failure is not None else None,
        )

    @property
    def remaining(self) -> timedelta | None:
        """Time left until the attempt is stopped; never negative, None without a limit."""
        if not self._invocation.HasField("start_to_close"):
            return None
        left = seconds_of(self._invocation.start_to_close) - (time.monotonic() - self._started)
        return timedelta(seconds=min(max(left, 0.0), timedelta.max.total_seconds() - 1))

    @property
    def deadline(self) -> datetime | None:
        """When the attempt is stopped, by this machine's clock, in UTC; None without a limit."""
        left = self.remaining
        return None if left is None else datetime.now(UTC) + left

    @property
    def heartbeat_timeout(self) -> timedelta | None:
        """How often `heartbeat` must be called; None if it need not be."""
        if not self._invocation.HasField("heartbeat_timeout"):
            return None
        return timedelta(seconds=seconds_of(self._invocation.heartbeat_timeout))

    @property
    def cancel_reason(self) -> CancelReason | None:
        """Why the attempt is to stop; None unless `cancelled`. After `SAGA_UNWINDING` another reason may follow."""
        return self._cancel_reason

    def check_cancelled(self) -> None:
        """Return while the attempt may go on: for loops of synchronous actions. That the saga unwinds is no hindrance.

        Raises:
            AttemptCancelled: It was asked to stop. Let it pass: the attempt's effect then counts as unknown.
        """
        if self._cancel_reason is not None and not self._cancel_reason.is_advice:
            raise AttemptCancelled(f"attempt {self.attempt} of {self.node} was asked to stop: {self._cancel_reason}")

    def heartbeat(self, details: object = None) -> None:
        """Report that the attempt is alive, and how far it is.

        Cheap, and good from any thread; calls in quick succession are sent as one.

        Args:
            details: What the next attempt will find in `last_progress`, should this one not succeed. None: the
                details reported before stand.

        Raises:
            ConversionError: The details can't be a payload.
        """
        self._tell_progress(None if details is None else encode(details))

    @overload
    def last_progress(self) -> Any: ...
    @overload
    def last_progress(self, declared: type[T]) -> T | None: ...
    def last_progress(self, declared: Any = Any) -> Any:
        """What an earlier attempt reported last; None if none did.

        Args:
            declared: Its type. Without it JSON comes back as it is: dicts, lists and scalars.

        Raises:
            ConversionError: It is not of this type.
        """
        if not self._invocation.HasField("last_progress"):
            return None
        return decode(self._invocation.last_progress, declared)

    def stable_id(self, name: str) -> uuid.UUID:
        """An id that is the same in every attempt of this node, action and undo action alike.

        Make what you create with it, instead of with a random one: then an attempt that comes again finds what the
        first one made, and the undo action finds it too. UUID version 5 of saga, node and `name`.
        """
        return uuid.uuid5(STABLE_ID_NAMESPACE, f"{self.saga_id}\n{self.node}\n{name}")

    def cancel(self, reason: CancelReason) -> None:
        """Ask the attempt to stop. Called by the worker, and by tests.

        The first reason stands; but an order takes the place of an advice.
        """
        if self._cancel_reason is None or (self._cancel_reason.is_advice and not reason.is_advice):
            self._cancel_reason = reason
            self.cancelled.set()


_CURRENT: ContextVar[Context] = ContextVar("sagaline_context")


def current_context() -> Context:
    """Return the context of the action or undo action that runs here.

    Raises:
        LookupError: None does: this is no action's code, or a thread that the action started itself.
    """
    try:
        return _CURRENT.get()
    except LookupError:
        raise LookupError("no action runs here: call this from an action, or pass its Context on") from None


def enter_context(context: Context) -> None:
    """Make a context the current one of this task or thread. Called by the worker."""
    _CURRENT.set(context)
