"""Spans from a log: one for the saga, and one below it for each attempt of an action or undo action.

They are made when the saga has ended, so attempts that earlier owners started
are among them, and running a saga costs nothing for it. What they tell is
names, numbers and times; never a payload, nor the message of a failure, which
may hold anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec

from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Kind,
    NodeFailed,
    NodeSucceeded,
    NodeUndone,
    Outcome,
    SagaCreated,
    SagaFinished,
    SagaState,
    Stamped,
    UndoAttemptEnded,
    UndoAttemptStarted,
    UndoFailed,
)
from sagaline_server.core.traces import TraceParent, saga_span_id, span_id
from sagaline_server.core.values import Failure

_PLACE = re.compile(r"\[[0-9]+\]")
"""Of an element of a map, in the names of its nodes."""

UNANSWERED = "unanswered"
"""Outcome of an attempt that nobody waited for any more when the saga ended."""


class TracedSaga(msgspec.Struct, frozen=True, gc=False):
    """A saga that has ended, and what its log does not tell of it."""

    saga_id: str
    graph_name: str
    parent: TraceParent
    """The caller's span."""
    error_type: str = ""
    """Type of the failure that it unwound for; empty: there was none."""


class Span(msgspec.Struct, frozen=True):
    """One span. Times in seconds since 1970."""

    parent: TraceParent
    """The caller's span, whose trace it belongs to."""
    span_id: bytes
    parent_id: bytes
    name: str
    start: float
    end: float
    is_attempt: bool
    """False: it is the saga's own."""
    is_error: bool
    attributes: tuple[tuple[str, str | int], ...]


class _Attempt(msgspec.Struct):
    """What the log has told of an attempt so far."""

    worker_id: str
    start: float
    end: float | None = None
    outcome: Outcome | None = None
    error_type: str = ""


class Attempts:
    """Reads a log, in parts as large as one likes, and keeps of it what spans are made of."""

    def __init__(self) -> None:
        """Begin before the first entry."""
        self._attempts: dict[tuple[str, Kind, int], _Attempt] = {}
        self._created = 0.0
        self._finished = 0.0
        self._state: SagaState | None = None

    @property
    def is_whole(self) -> bool:
        """True when the end of the saga has been read."""
        return self._state is not None

    def read(self, log: Iterable[Stamped]) -> None:
        """Read the next entries."""
        for stamped in log:
            self._read(stamped)

    def _read(self, stamped: Stamped) -> None:
        entry, time = stamped.entry, stamped.time
        match entry:
            case AttemptStarted():
                self._attempts[entry.node, Kind.ACTION, entry.attempt] = _Attempt(entry.worker_id, time)
            case UndoAttemptStarted():
                self._attempts[entry.node, Kind.UNDO, entry.attempt] = _Attempt(entry.worker_id, time)
            case AttemptEnded():
                self._answer(Kind.ACTION, entry, time, entry.outcome, entry.failure)
            case UndoAttemptEnded():
                self._answer(Kind.UNDO, entry, time, entry.outcome, entry.failure)
            case NodeSucceeded():
                self._answer(Kind.ACTION, entry, time, Outcome.SUCCEEDED)
            case NodeUndone():
                self._answer(Kind.UNDO, entry, time, Outcome.SUCCEEDED)
            case NodeFailed():
                self._answer(Kind.ACTION, entry, time, Outcome.FAILED, entry.failure)
            case UndoFailed():
                self._answer(Kind.UNDO, entry, time, Outcome.FAILED, entry.failure)
            case SagaCreated():
                self._created = time
            case SagaFinished():
                self._finished, self._state = time, entry.state
            case _:
                pass

    def _answer(
        self,
        kind: Kind,
        entry: AttemptEnded | UndoAttemptEnded | NodeSucceeded | NodeUndone | NodeFailed | UndoFailed,
        time: float,
        outcome: Outcome,
        failure: Failure | None = None,
    ) -> None:
        """Take an answer. The last one counts: one that was given up may be answered after all."""
        attempt = self._attempts.get((entry.node, kind, entry.attempt))
        if attempt is None:
            return  # a node may be decided without an attempt
        is_verdict = isinstance(entry, UndoFailed) or (isinstance(entry, NodeFailed) and entry.effect_unknown)
        if is_verdict and attempt.end is not None:
            return  # of the node, which names its last attempt; that one had its end before
        attempt.end, attempt.outcome = time, outcome
        attempt.error_type = "" if failure is None else failure.type

    def spans(self, saga: TracedSaga) -> Iterator[Span]:
        """Yield the spans: the saga's, then those of its attempts in the order in which they started.

        Only when the end of the saga has been read.
        """
        assert self._state is not None
        own = saga_span_id(saga.saga_id)
        attributes: list[tuple[str, str | int]] = [
            ("sagaline.saga.id", saga.saga_id),
            ("sagaline.graph", saga.graph_name),
            ("sagaline.saga.state", self._state.name.lower()),
        ]
        if saga.error_type:
            attributes.append(("error.type", saga.error_type))
        yield Span(
            parent=saga.parent,
            span_id=own,
            parent_id=saga.parent.span_id,
            name=f"saga {saga.graph_name}",
            start=self._created,
            end=max(self._created, self._finished),
            is_attempt=False,
            is_error=self._state is not SagaState.SUCCEEDED,
            attributes=tuple(attributes),
        )
        for (node, kind, number), attempt in self._attempts.items():
            yield self._span(saga, own, (node, kind, number), attempt)

    def _span(self, saga: TracedSaga, own: bytes, key: tuple[str, Kind, int], attempt: _Attempt) -> Span:
        node, kind, number = key
        side = "action" if kind is Kind.ACTION else "undo"
        attributes: list[tuple[str, str | int]] = [
            ("sagaline.saga.id", saga.saga_id),
            ("sagaline.node", node),
            ("sagaline.kind", side),
            ("sagaline.attempt", number),
            ("sagaline.outcome", UNANSWERED if attempt.outcome is None else attempt.outcome.name.lower()),
        ]
        if attempt.worker_id:  # empty: an injected fault took the place of the attempt
            attributes.append(("sagaline.worker.id", attempt.worker_id))
        if attempt.error_type:
            attributes.append(("error.type", attempt.error_type))
        end = self._finished if attempt.end is None else attempt.end
        return Span(
            parent=saga.parent,
            span_id=span_id(saga.saga_id, node, kind, number),
            parent_id=own,
            name=f"{side} {_PLACE.sub('[]', node)}",  # names of spans are to be few: the place is in the attribute
            start=attempt.start,
            end=max(attempt.start, end),  # two owners, two clocks
            is_attempt=True,
            is_error=attempt.outcome in (Outcome.FAILED, Outcome.UNKNOWN),
            attributes=tuple(attributes),
        )
