"""Policies of nodes: when to try again, how to undo, how long to wait.

Times are `timedelta`s, so that no unit is guessed. Every field that is left out takes the server's default.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Final

from google.protobuf.duration_pb2 import Duration

from sagaline import limits
from sagaline.errors import PolicyError
from sagaline.v1 import saga_pb2


class UndoKind(StrEnum):
    """What undoing a node means."""

    ACTION = "action"
    """The worker's undo action is invoked."""
    NOOP = "noop"
    """There is nothing to undo; the node counts as undone at once."""
    NONE = "none"
    """It cannot be undone: `UndoPolicy.irreversible` says what then."""


class Irreversible(StrEnum):
    """What unwinding does when it meets a node that succeeded and cannot be undone."""

    HOLD = "hold"
    """Stop there for an operator."""
    FORWARD_ONLY = "forward_only"
    """Go on forward instead of unwinding."""


class UnknownPolicy(StrEnum):
    """What to do with a node whose outcome stays unknown."""

    RETRY_THEN_UNDO = "retry_then_undo"
    """Send the action again until the answer is definite or attempts run out; then undo it as unknown."""
    UNDO = "undo"
    """Undo it as unknown at once."""
    HOLD = "hold"
    """Hold it for an operator."""


UNBOUNDED: Final = -1
"""`RetryPolicy.max_attempts` of what is tried until it succeeds, such as what comes after a pivot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When an attempt is tried again.

    The delay before attempt n+1 is `initial_backoff * multiplier**(n-1)`, at most `max_backoff`, less a random share.

    Raises:
        PolicyError: A value is out of its range.
    """

    max_attempts: int | None = None
    """Most attempts, the first included: 1 to 1,000,000, or UNBOUNDED. None: 5 of actions, no bound of undo actions."""
    initial_backoff: timedelta | None = None
    """Delay before the second attempt: 0 to 1 day. None: 1 s."""
    max_backoff: timedelta | None = None
    """Greatest delay: up to 30 days. None: 60 s."""
    multiplier: float | None = None
    """Factor from each delay to the next: 1 to 100. None: 2."""
    jitter: float | None = None
    """Share of the delay that is random: 0 to 1. None: 0.2."""
    total_timeout: timedelta | None = None
    """No new attempt later than this after the first start, up to 366 days. None: no bound."""
    non_retryable: Sequence[str] = ()
    """Types of `Retry` and of other exceptions that are not tried again. At most 64."""

    def __post_init__(self) -> None:
        if self.max_attempts != UNBOUNDED:
            _check_number("max_attempts", self.max_attempts, 1, limits.MAX_ATTEMPTS)
        _check_time("initial_backoff", self.initial_backoff, limits.INITIAL_BACKOFF_SECONDS)
        _check_time("max_backoff", self.max_backoff, limits.BACKOFF_SECONDS)
        _check_number("multiplier", self.multiplier, 1, limits.MULTIPLIER)
        _check_number("jitter", self.jitter, 0, 1)
        _check_time("total_timeout", self.total_timeout, limits.TIMEOUT_SECONDS)
        if isinstance(self.non_retryable, str):
            raise PolicyError("non_retryable is a list of failure types, not one text")
        object.__setattr__(self, "non_retryable", tuple(self.non_retryable))
        if len(self.non_retryable) > limits.NON_RETRYABLE_TYPES:
            raise PolicyError(
                f"non_retryable has {len(self.non_retryable)} types; at most {limits.NON_RETRYABLE_TYPES} are allowed"
            )

    def to_proto(self) -> saga_pb2.RetryPolicy:
        """Return the policy as the protocol has it."""
        return saga_pb2.RetryPolicy(
            max_attempts=self.max_attempts or 0,
            initial_backoff=_duration(self.initial_backoff),
            max_backoff=_duration(self.max_backoff),
            multiplier=self.multiplier or 0.0,
            jitter=self.jitter,
            total_timeout=_duration(self.total_timeout),
            non_retryable_failure_types=self.non_retryable,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Limits in time of each attempt.

    Raises:
        PolicyError: A value is out of its range.
    """

    schedule_to_start: timedelta | None = None
    """How long the node may wait for a worker. None: for ever."""
    start_to_close: timedelta | None = None
    """How long an attempt may run; afterwards it is asked to stop and its outcome is unknown. None: for ever."""
    heartbeat: timedelta | None = None
    """How long user code may go without `Context.heartbeat`. None: the worker being alive is enough."""

    def __post_init__(self) -> None:
        for name in ("schedule_to_start", "start_to_close", "heartbeat"):
            value: timedelta | None = getattr(self, name)
            _check_time(name, value, limits.TIMEOUT_SECONDS)
            if value == timedelta(0):
                raise PolicyError(f"{name} is 0; leave it out if there is no limit")

    def to_proto(self) -> saga_pb2.Timeouts:
        """Return the timeouts as the protocol has them."""
        return saga_pb2.Timeouts(
            schedule_to_start=_duration(self.schedule_to_start),
            start_to_close=_duration(self.start_to_close),
            heartbeat=_duration(self.heartbeat),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UndoPolicy:
    """How a node is undone: by its undo action unless told otherwise.

    Raises:
        PolicyError: `irreversible` is given and `kind` is not NONE.
    """

    kind: UndoKind = UndoKind.ACTION
    """What undoing means."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    """When an undo attempt is tried again: without bound unless told otherwise."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """Limits in time of an undo attempt."""
    irreversible: Irreversible | None = None
    """For `UndoKind.NONE` alone. None: hold for an operator."""

    def __post_init__(self) -> None:
        if self.irreversible is not None and self.kind is not UndoKind.NONE:
            raise PolicyError("irreversible says what happens to a node of UndoKind.NONE; this one can be undone")

    @classmethod
    def noop(cls) -> UndoPolicy:
        """There is nothing to undo: the action only reads, or what it leaves behind does not matter."""
        return cls(kind=UndoKind.NOOP)

    @classmethod
    def none(cls, irreversible: Irreversible = Irreversible.HOLD) -> UndoPolicy:
        """The action cannot be undone."""
        return cls(kind=UndoKind.NONE, irreversible=irreversible)

    def to_proto(self) -> saga_pb2.UndoPolicy:
        """Return the policy as the protocol has it."""
        policy = saga_pb2.UndoPolicy(kind=_UNDO_KINDS[self.kind])
        if self.retry != RetryPolicy():
            policy.retry.CopyFrom(self.retry.to_proto())
        if self.timeouts != Timeouts():
            policy.timeouts.CopyFrom(self.timeouts.to_proto())
        if self.irreversible is not None:
            policy.irreversible = _IRREVERSIBLE[self.irreversible]
        return policy


_UNDO_KINDS: Final = {
    UndoKind.ACTION: saga_pb2.UNDO_KIND_ACTION,
    UndoKind.NOOP: saga_pb2.UNDO_KIND_NOOP,
    UndoKind.NONE: saga_pb2.UNDO_KIND_NONE,
}
_IRREVERSIBLE: Final = {
    Irreversible.HOLD: saga_pb2.IRREVERSIBLE_POLICY_HOLD,
    Irreversible.FORWARD_ONLY: saga_pb2.IRREVERSIBLE_POLICY_FORWARD_ONLY,
}
_UNKNOWN: Final = {
    UnknownPolicy.RETRY_THEN_UNDO: saga_pb2.UNKNOWN_POLICY_RETRY_THEN_UNDO,
    UnknownPolicy.UNDO: saga_pb2.UNKNOWN_POLICY_UNDO,
    UnknownPolicy.HOLD: saga_pb2.UNKNOWN_POLICY_HOLD,
}


def unknown_policy(policy: UnknownPolicy) -> saga_pb2.UnknownPolicy.ValueType:
    """Return the policy as the protocol has it."""
    return _UNKNOWN[policy]


def _duration(length: timedelta | None) -> Duration | None:
    if length is None:
        return None
    message = Duration()
    message.FromTimedelta(length)
    return message


def _check_number(name: str, value: object, low: float, high: float) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise PolicyError(f"{name} lies between {low:,g} and {high:,g}; this is {value!r}")


def _check_time(name: str, value: object, most_s: int) -> None:
    if value is None:
        return
    if not isinstance(value, timedelta):
        raise PolicyError(f"{name} is a timedelta, such as timedelta(seconds=5); this is {value!r}")
    if not timedelta(0) <= value <= timedelta(seconds=most_s):
        raise PolicyError(f"{name} lies between 0 and {timedelta(seconds=most_s)}; this is {value}")
