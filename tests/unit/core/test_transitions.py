"""The transition table of a node, whole: what may follow what, and what may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagaline_server.core.apply import ORDER_EVENTS
from sagaline_server.core.entries import Resolution
from sagaline_server.core.transitions import SETTLED, TRANSITIONS, Event, NodeStatus, next_status

GOLDEN = Path(__file__).with_name("transitions.txt")


def table() -> str:
    """Return every pair of a status and an event, with the status that follows."""
    lines = []
    for status in NodeStatus:
        lines.append(f"{status.name}")
        allowed = {event: new for event in Event if (new := next_status(status, event)) is not None}
        lines += [f"    {event.name:<13} -> {new.name}" for event, new in allowed.items()]
        refused = [event.name for event in Event if event not in allowed]
        half = len(refused) // 2
        lines += [f"    refused: {' '.join(refused[:half])}", f"             {' '.join(refused[half:])}", ""]
    return "\n".join(lines)


def test_the_table_is_the_golden_one() -> None:
    """Every pair of status and event is in transitions.txt, allowed or refused. A change there is a change of what
    logs mean: make it by hand, and know why."""
    assert table() == GOLDEN.read_text()


@pytest.mark.parametrize("event", list(Event))
def test_every_event_can_happen_somewhere(event: Event) -> None:
    """The table has a row for each event, and no empty one."""
    assert TRANSITIONS[event]


def test_every_status_can_be_reached_and_left() -> None:
    """No status is dead; only the settled ones, and those of a saga's success, may be the last."""
    reached = {new for moves in TRANSITIONS.values() for old, new in moves.items() if old is not new}
    left = {old for moves in TRANSITIONS.values() for old, new in moves.items() if old is not new}
    assert set(NodeStatus) - reached == {NodeStatus.PENDING} - reached
    assert set(NodeStatus) - left == SETTLED


def test_settled_is_for_ever() -> None:
    """A node that is failed, undone or abandoned never moves again."""
    for status in SETTLED:
        assert {next_status(status, event) for event in Event} <= {None, status}


def test_a_late_answer_moves_nothing() -> None:
    """An answer to an attempt that no longer matters is recorded where it was."""
    assert all(old is new for old, new in TRANSITIONS[Event.ANSWER_LATE].items())


def test_every_order_of_an_operator_has_its_event() -> None:
    """Whatever an operator can say is in the table."""
    assert set(ORDER_EVENTS) == set(Resolution)
    assert len(set(ORDER_EVENTS.values())) == len(Resolution)


def test_the_table_can_not_be_changed() -> None:
    """It is data that everybody shares."""
    with pytest.raises(TypeError):
        TRANSITIONS[Event.START] = {}  # type: ignore[index]
