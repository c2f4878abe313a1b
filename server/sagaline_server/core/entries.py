"""Log entries: the closed set of things that can happen to a saga.

They are facts, written in the past tense, and the only input of `apply`. The
sequence number, epoch and wall-clock time of an entry belong to its envelope
(`Stamped`); the machine itself uses the time for one thing, when a retry is due.
"""

from __future__ import annotations

import enum

import msgspec

from sagaline_server.core.values import Failure, Payload


class Kind(enum.IntEnum):
    """Which side of a node is invoked. Values are the wire's."""

    ACTION = 1
    UNDO = 2

    # Kinds are parts of the keys of hot dictionaries, and an enum's own hash is a call into Python.
    __hash__ = int.__hash__


class Outcome(enum.IntEnum):
    """How an attempt ended. Values are the wire's."""

    SUCCEEDED = 1
    FAILED = 2
    REJECTED = 3
    UNKNOWN = 4


class UnwindCause(enum.IntEnum):
    """Why a saga was asked to unwind. Values are the wire's."""

    REQUESTED = 1
    DEADLINE = 2


class UndoneHow(enum.IntEnum):
    """How a node came to be undone. Values are the wire's."""

    ACTION = 1
    NOOP = 2


class OwnerChange(enum.IntEnum):
    """How a saga changed owner. Values are the wire's."""

    HANDED_OFF = 1
    ADOPTED = 2


class Resolution(enum.IntEnum):
    """What an operator decides about a node. Values are the wire's."""

    RETRY = 1
    MARK_UNDONE = 2
    MARK_FAILED = 3
    SUPPLY_OUTPUT = 4


class FaultKind(enum.IntEnum):
    """What an injected fault does. Values are the wire's."""

    ACTION_ERROR = 1
    UNDO_ERROR = 2
    REPEAT = 3
    CRASH_BEFORE_RESULT = 4


class SagaState(enum.IntEnum):
    """Where a saga stands. Values are the wire's."""

    RUNNING = 1
    UNWINDING = 2
    STUCK = 3
    SUCCEEDED = 4
    UNWOUND = 5
    QUARANTINED = 6

    @property
    def is_final(self) -> bool:
        """True when nothing will ever happen to the saga again."""
        return self in (SagaState.SUCCEEDED, SagaState.UNWOUND)


class SagaCreated(msgspec.Struct, frozen=True, gc=False):
    """First entry of every log."""

    digest: bytes
    paused: bool = False
    start_delay: float | None = None
    """Seconds before the first node starts."""


class AttemptStarted(msgspec.Struct, frozen=True, gc=False):
    """Durable before the invocation leaves the SEC."""

    node: str
    attempt: int
    worker_id: str
    stepped: bool = False
    """True: it used up a step, since a breakpoint on its action held it."""


class AttemptEnded(msgspec.Struct, frozen=True):
    """An action attempt ended without deciding its node."""

    node: str
    attempt: int
    outcome: Outcome
    failure: Failure | None = None
    retry_delay: float | None = None
    answered_late: bool = False
    held: bool = False
    uncounted: bool = False
    overdue: bool = False
    """True: its time was over and its worker has not answered; the worker may still run it."""
    last_progress: Payload | None = None


class NodeSucceeded(msgspec.Struct, frozen=True, gc=False):
    """Decides a node."""

    node: str
    attempt: int
    output: Payload


class NodeFailed(msgspec.Struct, frozen=True):
    """Decides a node; the saga unwinds, or the element of a map that can do without it."""

    node: str
    attempt: int
    failure: Failure
    effect_unknown: bool = False


class MapExpanded(msgspec.Struct, frozen=True):
    """A map has its elements: those of its list, which is in the log or the record already."""

    node: str
    count: int


class UnwindRequested(msgspec.Struct, frozen=True):
    """From here on no new node starts."""

    cause: UnwindCause
    actor: str = ""
    reason: str = ""


class UndoAttemptStarted(msgspec.Struct, frozen=True, gc=False):
    """Durable before the undo invocation leaves the SEC."""

    node: str
    attempt: int
    worker_id: str
    stepped: bool = False
    """As of `AttemptStarted`."""


class UndoAttemptEnded(msgspec.Struct, frozen=True):
    """An undo attempt ended without deciding its node."""

    node: str
    attempt: int
    outcome: Outcome
    failure: Failure | None = None
    retry_delay: float | None = None
    uncounted: bool = False
    overdue: bool = False
    last_progress: Payload | None = None


class NodeHeld(msgspec.Struct, frozen=True):
    """No definite answer was had, or no answer can be had, and only an operator can decide."""

    node: str
    attempt: int
    """Last attempt; 0: the node could not be started at all."""
    failure: Failure


class NodeUndone(msgspec.Struct, frozen=True, gc=False):
    """Decides a node's undo."""

    node: str
    attempt: int
    how: UndoneHow


class UndoFailed(msgspec.Struct, frozen=True):
    """The saga is stuck at this node."""

    node: str
    attempt: int
    failure: Failure


class Breakpoint(msgspec.Struct, frozen=True):
    """A point at which the gate holds."""

    node: str
    """Name of a node, of a subsaga or map for every node in it, or "*" for every node."""
    kind: Kind | None = None
    """Side; None: both."""


class GateChanged(msgspec.Struct, frozen=True):
    """The gate as it is from here on."""

    paused: bool
    actor: str = ""
    reason: str = ""
    steps: int = 0
    """Starts that may pass although the gate holds them."""
    breakpoints: tuple[Breakpoint, ...] = ()


class SignalReceived(msgspec.Struct, frozen=True):
    """A signal arrived. The first node that waits for it has it, or the first that will."""

    signal: str
    payload: Payload
    request_id: str = ""
    """Idempotency key; empty: none."""


class OwnerChanged(msgspec.Struct, frozen=True):
    """First entry of a new owner."""

    sec_id: str
    incarnation: int
    how: OwnerChange
    from_sec_id: str = ""


class OperatorResolved(msgspec.Struct, frozen=True):
    """An operator's decision about a node."""

    node: str
    resolution: Resolution
    actor: str
    reason: str
    output: Payload | None = None
    expected_log_length: int = 0
    """Entries that the log had when the operator looked. 0: not said."""


class FaultInjected(msgspec.Struct, frozen=True):
    """Somebody wants something to go wrong, beside what was wanted before."""

    node: str
    fault: FaultKind
    times: int = 1
    actor: str = ""
    reason: str = ""


class FaultStruck(msgspec.Struct, frozen=True):
    """One fault is used up; what it does is in the entries after it."""

    node: str
    fault: FaultKind


class QuarantineChanged(msgspec.Struct, frozen=True):
    """The saga is set aside, or no longer."""

    quarantined: bool
    actor: str = ""
    reason: str = ""


class SagaFinished(msgspec.Struct, frozen=True, gc=False):
    """Last entry of a log."""

    state: SagaState


Entry = (
    SagaCreated
    | AttemptStarted
    | AttemptEnded
    | NodeSucceeded
    | NodeFailed
    | MapExpanded
    | UnwindRequested
    | NodeHeld
    | UndoAttemptStarted
    | UndoAttemptEnded
    | NodeUndone
    | UndoFailed
    | GateChanged
    | SignalReceived
    | OwnerChanged
    | OperatorResolved
    | FaultInjected
    | FaultStruck
    | QuarantineChanged
    | SagaFinished
)


class Stamped(msgspec.Struct, frozen=True, gc=False):
    """An entry with its place in the log."""

    seq: int
    epoch: int
    time: float
    """Seconds since 1970, by the clock of the SEC that wrote it."""
    entry: Entry
