"""Everything that can arrive at one node's barrier, and what must hold in whatever order it does.

`Checker` knows nothing of states: it remembers what was answered and counts what was really changed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from sagaline.context import Kind


class Ending(Enum):
    """How the user's code ends, should it run."""

    OK = "ok"
    FAILED = "failed"
    CRASH = "crash"
    """Before its transaction commits: an exception, a lost connection, a killed process."""


@dataclass(frozen=True)
class Event:
    """One arrival. A duplicate, and an attempt whose answer was lost, is the same one arriving again."""

    name: str
    kind: Kind
    token: int
    ending: Ending = Ending.OK
    action_succeeded: bool = False


ACTION, UNDO = Kind.ACTION, Kind.UNDO
EVENTS = (
    Event("action 1", ACTION, 10),
    Event("action 1 crashes", ACTION, 10, Ending.CRASH),
    Event("action 2", ACTION, 20),
    Event("action 2 fails", ACTION, 20, Ending.FAILED),
    Event("undo 1", UNDO, 30),
    Event("undo 2 crashes", UNDO, 40, Ending.CRASH),
    Event("undo 2, success known", UNDO, 40, action_succeeded=True),
    Event("action 3, after the undo", ACTION, 50),
)
"""Attempts are sent in the order of their tokens, and arrive in any, as often as the network likes."""


class Verdict(Enum):
    """What an arrival was answered with."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    UNDONE = "undone"
    SUPPRESSED = "suppressed"
    STALE = "stale"
    MISMATCH = "mismatch"
    NOT_RECORDED = "not recorded"
    NOTHING = "nothing: it crashed"


@dataclass(frozen=True)
class Told:
    """One answer, and how often the effect was made and reversed when it was given."""

    verdict: Verdict
    content: str
    """The output, or the failure's message."""
    applied: int
    reversed: int


@dataclass(frozen=True)
class Checker:
    """What was answered so far, and what that allows."""

    applied: int = 0
    reversed: int = 0
    outcome: tuple[Verdict, str] | None = None
    """What the action was answered with: it may not change until the undo."""
    undone: bool = False
    highest_token: int = 0
    """Of the attempts that were let in."""

    def after(self, event: Event, told: Told) -> Checker:
        """Check an answer, and remember it."""
        self._counts(told)
        if told.verdict is Verdict.NOTHING:
            assert event.ending is Ending.CRASH
            self._changes_nothing(event, told)
        elif self.undone:
            self._stays_undone(event, told)
        elif told.verdict in (Verdict.STALE, Verdict.NOT_RECORDED):
            self._changes_nothing(event, told)
        else:
            assert event.token >= self.highest_token or self.outcome is None, "a stale attempt was let in"
            self._answers(event, told)
        lets_in = told.verdict in (Verdict.SUCCEEDED, Verdict.FAILED, Verdict.UNDONE)
        return replace(
            self,
            applied=told.applied,
            reversed=told.reversed,
            outcome=(told.verdict, told.content) if event.kind is ACTION and lets_in else self.outcome,
            undone=self.undone or told.verdict is Verdict.UNDONE,
            highest_token=max(self.highest_token, event.token) if lets_in else self.highest_token,
        )

    def _counts(self, told: Told) -> None:
        assert 0 <= told.reversed <= told.applied <= 1
        assert told.applied >= self.applied
        assert told.reversed >= self.reversed

    def _stays_undone(self, event: Event, told: Told) -> None:
        assert told.applied == told.reversed == self.reversed, "undo did not win"
        assert told.verdict is (Verdict.SUPPRESSED if event.kind is ACTION else Verdict.UNDONE)

    def _changes_nothing(self, event: Event, told: Told) -> None:
        assert (told.applied, told.reversed) == (self.applied, self.reversed)
        if told.verdict is Verdict.STALE:
            assert event.token < self.highest_token, "an attempt was refused that nobody overtook"
        if told.verdict is Verdict.NOT_RECORDED:
            assert event.action_succeeded
            assert self.applied == 0

    def _answers(self, event: Event, told: Told) -> None:
        if event.kind is UNDO:
            assert told.verdict is Verdict.UNDONE
            assert told.applied == told.reversed == self.applied
            assert not event.action_succeeded or told.reversed == 1, "an effect that the SEC knows of was forgotten"
            return
        assert told.verdict in (Verdict.SUCCEEDED, Verdict.FAILED)
        assert self.outcome in (None, (told.verdict, told.content)), "an answer changed"
        assert told.applied - told.reversed == (1 if told.verdict is Verdict.SUCCEEDED else 0)
        if self.outcome is None:
            assert (told.verdict, told.content) == (_ENDS[event.ending], event.name)


_ENDS = {Ending.OK: Verdict.SUCCEEDED, Ending.FAILED: Verdict.FAILED}
