"""In which order a barrier reads and writes, as generators: they yield statements and are sent the replies.

What runs them, with or without `await`, and the user's code between them, is in `sync_barrier` and `async_barrier`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NoReturn, TypedDict, TypeVar

from sagaline.barrier.calls import Call
from sagaline.barrier.machine import Answer, Decision, Row, State, decide
from sagaline.barrier.records import failure_bytes, failure_of, output_of
from sagaline.barrier.statements import TABLE, Dialect, Reply, Statement, Statements, row_of
from sagaline.errors import BarrierMisuse, Failed, InputMismatch, NotRecorded, Retry, StaleToken, Suppressed

T = TypeVar("T")

Steps = Generator[Statement, Reply, T]

HORIZON: Final = timedelta(days=30)
ARRIVALS_MAX: Final = 3
"""Tries to write or read a row that is removed in between."""
EXPIRE_LIMIT: Final = 1_000
CONTENTION_TRIES: Final = 3
"""Times that `once` runs a transaction which the database ends because of others at the same time."""


class BarrierOptions(TypedDict, total=False):
    """What a barrier can be told besides where its transactions come from."""

    table: str
    """Name of its table: "sagaline_barrier" if absent. It may be "schema.name"."""
    scope: str
    """Which of several barriers: for an action that changes more than one database. Empty if absent."""
    horizon: timedelta
    """How long a row stands after it has changed last, so that it outlives every message that could still arrive:
    30 days if absent. More than the longest time for which a worker can be suspended with an invocation in hand."""
    saga_lifetime: timedelta | None
    """How long a saga can take, unwinding and waiting for operators included. Absent or None: not known, and the rows
    of done actions stand until `saga_ended` is called."""
    now: Callable[[], datetime]
    """The clock; aware of its time zone. This machine's if absent."""


class Undone(StrEnum):
    """How `undo` found its node."""

    NOW = "now"
    """The effect was there, and the user's code has just reversed it."""
    BEFORE = "before"
    """An earlier arrival saw to it."""
    NOTHING = "nothing"
    """There was no effect. Should the action still arrive, it will not run."""


@dataclass(frozen=True, slots=True)
class Found:
    """What an arrival found, and what is to be done about it."""

    decision: Decision
    row: Row | None

    @property
    def runs(self) -> bool:
        """Whether it is the user's code's turn."""
        return self.decision.answer is Answer.RUN

    @property
    def undone(self) -> Undone:
        """How the node was found."""
        if self.runs:
            return Undone.NOW
        return Undone.NOTHING if self.decision.to is not None else Undone.BEFORE


class Procedure:
    """What one barrier does with its table."""

    def __init__(self, dialect: Dialect, options: BarrierOptions) -> None:
        self.table = options.get("table", TABLE)
        self.scope = options.get("scope", "")
        self.now = options.get("now", _utc_now)
        self._horizon = options.get("horizon", HORIZON)
        self._saga_lifetime = options.get("saga_lifetime")
        spans = [self._horizon] if self._saga_lifetime is None else [self._horizon, self._saga_lifetime]
        if min(spans) <= timedelta(0):
            raise BarrierMisuse(
                "a barrier's horizon and saga_lifetime are positive, and better too long than too short"
            )
        self._sql = Statements(dialect, self.table)

    def arrive(self, call: Call) -> Steps[Found]:
        """Write the node's row if it has none, else read it; and record what needs no user code.

        Raises:
            StaleToken, InputMismatch, NotRecorded: The arrival is refused.
            Suppressed: It is an action, and its node has been undone.
        """
        found = yield from self._find(call)
        if found.decision.answer in _REFUSALS:
            _refuse(found.decision.answer, call)
        if found.row is not None and not found.runs:
            if found.decision.to is not None:
                yield self._recording(call, found.decision.to)
            elif found.decision.raises_token:
                yield self._sql.raise_token(call, self.now())
        return found

    def _find(self, call: Call) -> Steps[Found]:
        fresh = Found(decide(None, call.arrival), None)
        for _ in range(ARRIVALS_MAX):
            if fresh.decision.to is not None:
                at = self.now()
                reply = yield self._sql.claim(call, fresh.decision.to, at, self._expires_at(fresh.decision.to, at))
                if reply.count == 1:
                    return fresh
            elif not self._sql.reading_locks:
                yield self._sql.lock(call.key)
            reply = yield self._sql.read(call.key)
            if reply.row is not None:
                row = row_of(reply.row)
                return Found(decide(row, call.arrival), row)
            if fresh.decision.to is None:
                return fresh
        raise Retry("sagaline.BarrierBusy", f"the record of {call.key} is removed again and again")

    def succeeded(self, call: Call, found: Found, output: bytes | None = None) -> Steps[None]:
        """Record that the user's code has run."""
        assert found.decision.to is not None, "user code runs only on its way to a state"
        yield self._recording(call, found.decision.to, output=output)

    def failed(self, call: Call, found: Found, failed: Failed) -> Steps[None]:
        """Record that the action has failed without effect, for good."""
        assert found.decision.on_failed is not None, "of an undo action, failures are not recorded"
        yield self._recording(call, found.decision.on_failed, failure=failure_bytes(failed))

    def saga_ended(self, saga_id: str) -> Steps[None]:
        """Let a saga's rows go once the horizon has passed."""
        yield self._sql.saga_ended(saga_id, self.now() + self._horizon)

    def expire(self, before: datetime | None, limit: int) -> Steps[int]:
        """Remove rows whose time has passed.

        Raises:
            BarrierMisuse: `before` has not come yet, or has no time zone.
        """
        now = self.now()
        if before is not None and before.tzinfo is None:
            raise BarrierMisuse("expire: `before` needs a time zone; use datetime.now(UTC)")
        if before is not None and before > now:
            raise BarrierMisuse("expire: `before` lies in the future, and would remove rows that have to stand")
        reply = yield self._sql.expire(before or now, limit)
        return reply.count

    def _recording(
        self, call: Call, state: State, output: bytes | None = None, failure: bytes | None = None
    ) -> Statement:
        at = self.now()
        return self._sql.record(call, state, at, self._expires_at(state, at), output=output, failure=failure)

    def _expires_at(self, state: State, at: datetime) -> datetime | None:
        """A done action can be undone as long as its saga lives; nothing else is waited for but late messages."""
        if state is not State.DONE:
            return at + self._horizon
        return None if self._saga_lifetime is None else at + self._saga_lifetime + self._horizon


_REFUSALS = frozenset({Answer.SUPPRESSED, Answer.STALE, Answer.MISMATCH, Answer.NOT_RECORDED})


def _refuse(answer: Answer, call: Call) -> NoReturn:
    match answer:
        case Answer.SUPPRESSED:
            raise Suppressed("sagaline.Suppressed", f"{call.key} was undone before this attempt of its action arrived")
        case Answer.STALE:
            raise StaleToken(
                "sagaline.StaleToken",
                f"a later attempt of {call.key} than that of token {call.arrival.fencing_token} was here",
            )
        case Answer.MISMATCH:
            raise InputMismatch("sagaline.InputMismatch", f"{call.key} is on record with other inputs than these")
        case _:
            raise NotRecorded(
                "sagaline.NotRecorded",
                f"the action of {call.key} succeeded, and no effect of it is on record here: the record expired, or "
                "this is not the database that the action changed",
            )


def recorded_answer(found: Found, declared: Any) -> Any:
    """Return the recorded output of an action that does not run again.

    Raises:
        Failed: A failure is recorded.
        BarrierMisuse: Nothing is, because the action ended the transaction itself.
    """
    assert found.row is not None, "an action without a record runs"
    if found.decision.answer is Answer.FAILURE:
        raise failure_of(found.row.failure or b"")
    return recorded_output(found, declared)


def recorded_output(found: Found, declared: Any) -> Any:
    """Return the output that the row holds.

    Raises:
        BarrierMisuse: It holds none, because the action ended the transaction itself.
    """
    if found.row is None or found.row.output is None:
        raise BarrierMisuse("the action's output is not on record: its code committed the barrier's transaction itself")
    return output_of(found.row.output, declared)


def _utc_now() -> datetime:
    return datetime.now(UTC)
