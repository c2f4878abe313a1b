"""The barrier's machine: each rule of its table, and every order of up to six arrivals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from sagaline.barrier import machine
from sagaline.barrier.machine import RULES, Answer, Arrival, Decision, Row, Rule, Rules, State, decide
from sagaline.context import Kind
from tests.unit.barrier.orders import ACTION, EVENTS, UNDO, Checker, Ending, Event, Told, Verdict

DIGEST = b"digest"


def arrival(kind: Kind, token: int = 5, *, digest: bytes = DIGEST, succeeded: bool = False) -> Arrival:
    return Arrival(kind, token, digest, succeeded)


def row(state: State, token: int = 5) -> Row:
    return Row(state, token, DIGEST)


def test_every_state_has_a_rule_for_every_arrival() -> None:
    assert set(RULES) == {(state, kind) for state in (None, *State) for kind in Kind}


@pytest.mark.parametrize(
    ("state", "kind", "answer", "to"),
    [
        (None, ACTION, Answer.RUN, State.DONE),
        (State.DONE, ACTION, Answer.OUTPUT, None),
        (State.FAILED, ACTION, Answer.FAILURE, None),
        (State.UNDONE, ACTION, Answer.SUPPRESSED, None),
        (State.CANCELLED, ACTION, Answer.SUPPRESSED, None),
        (None, UNDO, Answer.UNDONE, State.CANCELLED),
        (State.DONE, UNDO, Answer.RUN, State.UNDONE),
        (State.FAILED, UNDO, Answer.UNDONE, State.CANCELLED),
        (State.UNDONE, UNDO, Answer.UNDONE, None),
        (State.CANCELLED, UNDO, Answer.UNDONE, None),
    ],
)
def test_each_rule(state: State | None, kind: Kind, answer: Answer, to: State | None) -> None:
    decision = decide(None if state is None else row(state), arrival(kind))
    assert (decision.answer, decision.to) == (answer, to)
    assert decision.on_failed == (State.FAILED if (state, kind) == (None, ACTION) else None)


@pytest.mark.parametrize("kind", [ACTION, UNDO])
@pytest.mark.parametrize("state", State)
def test_what_is_not_final_refuses_lower_tokens_and_other_inputs(state: State, kind: Kind) -> None:
    lower = decide(row(state), arrival(kind, 4))
    other = decide(row(state), arrival(kind, digest=b"other"))
    if state in (State.DONE, State.FAILED):
        assert (lower, other) == (Decision(Answer.STALE), Decision(Answer.MISMATCH))
    else:
        assert lower == other == decide(row(state), arrival(kind))


@pytest.mark.parametrize("state", [State.DONE, State.FAILED])
def test_a_repeated_action_raises_the_token(state: State) -> None:
    assert decide(row(state), arrival(ACTION, 6)).raises_token
    assert not decide(row(state), arrival(ACTION, 5)).raises_token


@pytest.mark.parametrize("state", [None, State.FAILED])
def test_an_undo_does_not_contradict_the_log_of_the_sec(state: State | None) -> None:
    """The SEC knows that the action succeeded: an undo that finds no effect must not say that nothing remains."""
    found = None if state is None else row(state)
    assert decide(found, arrival(UNDO, succeeded=True)) == Decision(Answer.NOT_RECORDED)
    assert decide(found, arrival(UNDO, succeeded=False)).answer is Answer.UNDONE


def test_final_states_absorb() -> None:
    for state in (State.UNDONE, State.CANCELLED):
        assert all(RULES[state, kind].to is None for kind in Kind)


def test_the_picture_is_the_table() -> None:
    """The module draws every arrow that the table has."""
    assert machine.__doc__ is not None
    for state in State:
        assert state.value in machine.__doc__
    arrows = {(state, rule.to) for (state, _), rule in RULES.items() if rule.to is not None}
    assert arrows == {
        (None, State.DONE),
        (None, State.CANCELLED),
        (State.DONE, State.UNDONE),
        (State.FAILED, State.CANCELLED),
    }
    assert machine.__doc__.count("▶") == len(arrows) + 1  # and the one of a failure


@dataclass(frozen=True)
class World:
    """One node's row and effect, kept as a database would."""

    row: Row | None = None
    applied: int = 0
    reversed: int = 0

    def deliver(self, event: Event, rules: Rules = RULES) -> tuple[World, Told]:
        came = Arrival(event.kind, event.token, DIGEST, event.action_succeeded)
        decision = decide(self.row, came, rules)
        if decision.answer is not Answer.RUN:
            after = replace(self, row=self._row(came, decision.to, raises_token=decision.raises_token))
            return after, after.told(_VERDICTS[decision.answer])
        if event.ending is Ending.CRASH:
            return self, self.told(Verdict.NOTHING)
        if event.ending is Ending.FAILED:
            after = replace(self, row=self._row(came, decision.on_failed, content=event.name))
            return after, after.told(Verdict.FAILED)
        after = replace(self, row=self._row(came, decision.to, content=event.name))
        if event.kind is ACTION:
            after = replace(after, applied=self.applied + 1)
            return after, after.told(Verdict.SUCCEEDED)
        after = replace(after, reversed=self.reversed + 1)
        return after, after.told(Verdict.UNDONE)

    def _row(self, came: Arrival, to: State | None, *, raises_token: bool = False, content: str = "") -> Row | None:
        if self.row is None:
            return None if to is None else Row(to, came.fencing_token, DIGEST, content.encode())
        if to is not None:
            return replace(self.row, state=to, fencing_token=came.fencing_token)
        return replace(self.row, fencing_token=came.fencing_token) if raises_token else self.row

    def told(self, verdict: Verdict) -> Told:
        recorded = verdict in (Verdict.SUCCEEDED, Verdict.FAILED) and self.row is not None
        content = (self.row.output or b"").decode() if recorded and self.row is not None else ""
        return Told(verdict, content, self.applied, self.reversed)


_VERDICTS = {
    Answer.OUTPUT: Verdict.SUCCEEDED,
    Answer.FAILURE: Verdict.FAILED,
    Answer.SUPPRESSED: Verdict.SUPPRESSED,
    Answer.UNDONE: Verdict.UNDONE,
    Answer.STALE: Verdict.STALE,
    Answer.MISMATCH: Verdict.MISMATCH,
    Answer.NOT_RECORDED: Verdict.NOT_RECORDED,
}


def explore(rules: Rules = RULES) -> int:
    """Deliver every event in every situation that any sequence of events leads to; return how many those are."""
    seen = {(World(), Checker())}
    unexplored: list[tuple[World, Checker, tuple[str, ...]]] = [(World(), Checker(), ())]
    while unexplored:
        world, checker, path = unexplored.pop()
        for event in EVENTS:
            after, told = world.deliver(event, rules)
            trace = (*path, event.name)
            try:
                checked = checker.after(event, told)
            except AssertionError as error:
                raise AssertionError(f"{' · '.join(trace)}: {told}: {error}") from None
            if (after, checked) not in seen:
                seen.add((after, checked))
                unexplored.append((after, checked, trace))
    return len(seen)


def test_g11_every_order_of_arrivals_of_any_length() -> None:
    """Whatever arrives, in whatever order and however often: one effect at most, one answer, and undo wins."""
    assert explore() > 10


FINAL = (State.UNDONE, State.CANCELLED)


def meaning(key: tuple[State | None, Kind], rule: Rule) -> Rule:
    """The rule without what makes no difference where it stands."""
    state, kind = key
    to = State.UNDONE if rule.to in FINAL else rule.to  # which of the two only people care about
    stays = to is state or (to in FINAL and state in FINAL)
    return replace(
        rule,
        to=None if stays else to,
        fenced=rule.fenced and state is not None,
        is_null_undo=rule.is_null_undo and kind is UNDO,
    )


def changes() -> Iterator[tuple[str, Rules]]:
    """Every table that differs from the real one in one field of one rule, and in what it means."""
    for key, rule in RULES.items():
        others: list[Rule] = [
            *(replace(rule, answer=answer) for answer in Answer if answer is not rule.answer),
            *(replace(rule, to=to) for to in (None, *State) if to is not rule.to),
            replace(rule, fenced=not rule.fenced),
            replace(rule, is_null_undo=not rule.is_null_undo),
        ]
        if rule.on_failed is not None:
            others += [replace(rule, on_failed=to) for to in (None, *State) if to is not rule.on_failed]
        for other in others:
            if meaning(key, other) != meaning(key, rule):
                yield f"{key[0]} {key[1]}: {other}", {**RULES, key: other}


def is_caught(rules: Rules) -> bool:
    try:
        explore(rules)
    except (AssertionError, KeyError):
        return True
    return False


def test_every_change_of_the_table_is_caught() -> None:
    mutants = dict(changes())
    assert len(mutants) > 80
    assert [name for name, rules in mutants.items() if not is_caught(rules)] == []
