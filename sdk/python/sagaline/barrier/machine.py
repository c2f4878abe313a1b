"""What a barrier decides: the states of a node's row, and what each arrival finds and changes. Pure, and without SQL.

```
            action           undo
  nothing ────────▶ DONE ────────▶ UNDONE        the effect happens on the first arrow and is reversed on the second
     │  └─────────▶ FAILED ──────▶ CANCELLED     a failure is remembered: the same action cannot succeed later
     └──────────────undo─────────▶ CANCELLED     nothing to reverse, and an action that comes later never runs
```

UNDONE and CANCELLED are final, whatever arrives and in whatever order: undo wins. Since one row is written in the same
transaction as the effect, and its key lets one writer at a time decide, the user's code runs exactly on the arrows out
of nothing to DONE and from DONE to UNDONE: each at most once in effect, the second only after the first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Final

from sagaline.context import Kind


class State(StrEnum):
    """What is recorded of a node."""

    DONE = "DONE"
    """The action had its effect. Its output is recorded."""
    FAILED = "FAILED"
    """The action failed without effect. Its failure is recorded."""
    UNDONE = "UNDONE"
    """The effect was there and has been reversed."""
    CANCELLED = "CANCELLED"
    """There was no effect when the undo action came, and there will never be one."""


class Answer(Enum):
    """What an arrival is answered with."""

    RUN = "the user's code runs now, and how it ends is the answer"
    OUTPUT = "the recorded output"
    FAILURE = "the recorded failure"
    SUPPRESSED = "failed: the node was undone before"
    UNDONE = "undone: nothing has to run"
    STALE = "refused: a later attempt has been here"
    MISMATCH = "refused: the node was recorded with other inputs"
    NOT_RECORDED = "refused: the action succeeded, and nothing is known of it here"


@dataclass(frozen=True, slots=True)
class Row:
    """The record of one node."""

    state: State
    fencing_token: int
    """Highest token that was let in while the row could still change."""
    input_digest: bytes
    output: bytes | None = None
    failure: bytes | None = None


@dataclass(frozen=True, slots=True)
class Arrival:
    """One attempt of the action or undo action, as it reaches the barrier."""

    kind: Kind
    fencing_token: int
    input_digest: bytes
    action_succeeded: bool = False
    """Of an undo action: whether the SEC has the action's success in its log."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What an arrival does where it finds a certain state."""

    answer: Answer
    to: State | None = None
    """State afterwards; None leaves it as it is."""
    on_failed: State | None = None
    """State after user code that raised `Failed`; None: the whole transaction is rolled back, and nothing recorded."""
    fenced: bool = False
    """Whether a lower fencing token, or other inputs, are refused. What is final is true for everybody."""
    is_null_undo: bool = False
    """Whether it takes the node for one without an effect, which the SEC may know better."""


Rules = Mapping[tuple[State | None, Kind], Rule]

RULES: Final[Rules] = MappingProxyType(
    {
        (None, Kind.ACTION): Rule(Answer.RUN, to=State.DONE, on_failed=State.FAILED),
        (State.DONE, Kind.ACTION): Rule(Answer.OUTPUT, fenced=True),
        (State.FAILED, Kind.ACTION): Rule(Answer.FAILURE, fenced=True),
        (State.UNDONE, Kind.ACTION): Rule(Answer.SUPPRESSED),
        (State.CANCELLED, Kind.ACTION): Rule(Answer.SUPPRESSED),
        (None, Kind.UNDO): Rule(Answer.UNDONE, to=State.CANCELLED, is_null_undo=True),
        (State.DONE, Kind.UNDO): Rule(Answer.RUN, to=State.UNDONE, fenced=True),
        (State.FAILED, Kind.UNDO): Rule(Answer.UNDONE, to=State.CANCELLED, fenced=True, is_null_undo=True),
        (State.UNDONE, Kind.UNDO): Rule(Answer.UNDONE),
        (State.CANCELLED, Kind.UNDO): Rule(Answer.UNDONE),
    }
)
"""The whole machine."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of an arrival. A refusal changes nothing."""

    answer: Answer
    to: State | None = None
    """State to record; None leaves it as it is. With `RUN`: once the user's code has succeeded."""
    on_failed: State | None = None
    """With `RUN`: state to record once the user's code has raised `Failed`."""
    raises_token: bool = False
    """Whether the arrival's token is the highest so far, and has to be recorded although the state stays."""


def decide(row: Row | None, arrival: Arrival, rules: Rules = RULES) -> Decision:
    """Decide what becomes of an arrival that found this row, or none."""
    rule = rules[row.state if row is not None else None, arrival.kind]
    raises_token = False
    if row is not None and rule.fenced:
        if arrival.fencing_token < row.fencing_token:
            return Decision(Answer.STALE)
        if arrival.input_digest != row.input_digest:
            return Decision(Answer.MISMATCH)
        raises_token = rule.to is None and arrival.fencing_token > row.fencing_token
    if rule.is_null_undo and arrival.action_succeeded:
        return Decision(Answer.NOT_RECORDED)
    return Decision(rule.answer, rule.to, rule.on_failed, raises_token)
