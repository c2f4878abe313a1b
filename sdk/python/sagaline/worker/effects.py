"""What the worker's machine asks its shell to do, in the order in which it is to be done.

The machine (`fleet`, `session`, `holdings` and what they use) has no I/O, clock or randomness: it is fed with events
and answers with these. Frames are not among them: the writer pulls the next one when the stream is free for it, so
that everything that has gathered meanwhile leaves together and a lone item leaves at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Attempt, CancelReason, Ref


@dataclass(frozen=True, slots=True)
class Start:
    """Run user code for these attempts, each exactly once, and answer each with `finished` or `not_started`."""

    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Stop:
    """Tell the user code of an attempt that was started why it is to end. It is still answered with `finished`.

    An attempt may be told twice: an advice first, and then an order.
    """

    ref: Ref
    reason: CancelReason


@dataclass(frozen=True, slots=True)
class Forget:
    """The SEC gave these results their final acknowledgement: nothing of the attempts is kept."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True)
class Welcomed:
    """The session at this address is open, and it is with this SEC."""

    address: str
    sec_id: str
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Members:
    """A SEC told who the SECs are. For the fleet; it does not reach the shell."""

    secs: pb.SecSet


@dataclass(frozen=True, slots=True)
class EndStream:
    """End the stream at this address, then say `ended`.

    With `half_close` write what is still queued, end only our half, and wait for the SEC's; else cancel the call.
    """

    address: str
    why: str
    half_close: bool = False


@dataclass(frozen=True, slots=True)
class Reconnect:
    """The session can do with a new stream from this time on, in seconds. For the fleet, which says `Connect`."""

    address: str
    at: float
    fresh_channel: bool
    failures: int


@dataclass(frozen=True, slots=True)
class Connect:
    """Open a stream to this address now; then say `opened`."""

    address: str
    fresh_channel: bool


@dataclass(frozen=True, slots=True)
class Call:
    """Call ReportResults at this address, with a deadline; then say `called`."""

    address: str
    request: pb.ReportResultsRequest


@dataclass(frozen=True, slots=True)
class Closed:
    """The session at this address is over for good. `error` says why where nobody asked for it."""

    address: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to read: an event's name and its facts, never a payload."""

    level: int
    event: str
    facts: Mapping[str, object] = field(default_factory=dict)


Effect = Start | Stop | Forget | Welcomed | Members | EndStream | Reconnect | Connect | Call | Closed | Note


class Effects:
    """Collects effects while one event is processed."""

    def __init__(self) -> None:
        self._starts: list[Attempt] = []
        self._forgotten: list[Ref] = []
        self._others: list[Effect] = []

    def start(self, attempt: Attempt) -> None:
        """All starts of one event become one effect, so that they reach the user's loop together."""
        self._starts.append(attempt)

    def forget(self, ref: Ref) -> None:
        """All that is forgotten in one event becomes one effect."""
        self._forgotten.append(ref)

    def add(self, effect: Effect) -> None:
        """Append one effect."""
        self._others.append(effect)

    def note(self, level: int, event: str, **facts: object) -> None:
        """Append one note."""
        self._others.append(Note(level, event, facts))

    def take(self) -> list[Effect]:
        """Everything collected since the last call; starts first, for a stop may follow the start it is about."""
        taken: list[Effect] = []
        if self._starts:
            taken.append(Start(tuple(self._starts)))
            self._starts.clear()
        if self._forgotten:
            taken.append(Forget(tuple(self._forgotten)))
            self._forgotten.clear()
        if self._others:
            taken += self._others
            self._others.clear()
        return taken
