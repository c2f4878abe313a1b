"""What `decide` is given and what it answers: inputs, and decisions about them."""

from __future__ import annotations

import enum

import msgspec

from sagaline_server.core.entries import Breakpoint, Entry, FaultKind, Kind, OwnerChange, Resolution, UnwindCause
from sagaline_server.core.values import Failure, Payload

# ---- inputs --------------------------------------------------------------------


class Result(msgspec.Struct, frozen=True, gc=False):
    """A worker reports the end of an attempt: an output, or a failure."""

    node: str
    kind: Kind
    attempt: int
    output: Payload | None = None
    failure: Failure | None = None


class Rejected(msgspec.Struct, frozen=True):
    """An attempt was certainly never started."""

    node: str
    kind: Kind
    attempt: int


class Lost(msgspec.Struct, frozen=True):
    """An attempt's worker is gone, or does not know it any more."""

    node: str
    kind: Kind
    attempt: int
    message: str
    uncounted: bool = False


class Placed(msgspec.Struct, frozen=True):
    """A worker has a slot for one side of a node."""

    node: int
    kind: Kind
    worker_id: str


class Look(msgspec.Struct, frozen=True):
    """A node may go on without a worker: given up, undone with nothing to do, impossible to start."""

    node: int


class Unwind(msgspec.Struct, frozen=True):
    """Somebody wants the saga undone, or its deadline has passed."""

    cause: UnwindCause = UnwindCause.REQUESTED
    actor: str = ""
    reason: str = ""


class SetPaused(msgspec.Struct, frozen=True):
    """Somebody wants the saga held, or no longer held."""

    paused: bool
    actor: str = ""
    reason: str = ""


class Step(msgspec.Struct, frozen=True):
    """Somebody wants a number of starts to pass the gate although it holds."""

    steps: int
    actor: str = ""
    reason: str = ""


class SetBreakpoints(msgspec.Struct, frozen=True):
    """Somebody wants the gate to hold at these points, and at no others."""

    breakpoints: tuple[Breakpoint, ...]
    actor: str = ""
    reason: str = ""


class Signal(msgspec.Struct, frozen=True):
    """Somebody sends a signal."""

    signal: str
    payload: Payload
    request_id: str = ""
    actor: str = ""
    reason: str = ""


class Resolve(msgspec.Struct, frozen=True):
    """An operator decides about a node."""

    node: str
    resolution: Resolution
    actor: str
    reason: str
    output: Payload | None = None
    expected_log_length: int = 0
    """Entries that the log had when the operator looked. 0: not said."""


class InjectFault(msgspec.Struct, frozen=True):
    """Somebody wants later attempts of a node to go wrong."""

    node: str
    fault: FaultKind
    times: int = 1
    actor: str = ""
    reason: str = ""


class SetQuarantined(msgspec.Struct, frozen=True):
    """An operator sets the saga aside, or takes it back into service."""

    quarantined: bool
    actor: str = ""
    reason: str = ""


class NewOwner(msgspec.Struct, frozen=True):
    """This incarnation has become the owner."""

    sec_id: str
    incarnation: int
    how: OwnerChange
    from_sec_id: str = ""


class Close(msgspec.Struct, frozen=True):
    """Everything else is decided; the saga may have ended."""


Order = Unwind | SetPaused | Step | SetBreakpoints | Signal | Resolve | InjectFault | SetQuarantined
"""What clients and operators may ask of a saga."""

Input = Result | Rejected | Lost | Placed | Look | Order | NewOwner | Close

# ---- decisions -----------------------------------------------------------------


class ResultFate(enum.IntEnum):
    """What becomes of a reported result. Values are the wire's `ResultStatus`."""

    RECORDED = 1
    DUPLICATE = 2
    SUPERSEDED = 3
    NOT_FOUND = 4


class CancelReason(enum.IntEnum):
    """Why an attempt should stop. Values are the wire's `CancellationReason`."""

    SAGA_UNWINDING = 1
    TIMED_OUT = 2
    SUPERSEDED = 3


class Cancel(msgspec.Struct, frozen=True):
    """A wish that a worker stop an attempt."""

    node: int
    kind: Kind
    attempt: int
    worker_id: str
    reason: CancelReason


class Refusal(msgspec.Struct, frozen=True):
    """Why a request makes no sense now."""

    code: str
    message: str


class Decision(msgspec.Struct, frozen=True, gc=False):
    """What to do, in the order of the fields: append and apply `entries`, then send the rest."""

    entries: tuple[Entry, ...] = ()
    cancels: tuple[Cancel, ...] = ()
    fate: ResultFate | None = None
    """Of a Result."""
    refusal: Refusal | None = None
    """Of a request."""
    crashes: bool = False
    """True: an injected fault. The SEC dies once the entries are durable."""


NOTHING = Decision()
