"""The diagram of a node's states in ARCHITECTURE.md is drawn from the table, so that it can't be wrong."""

from __future__ import annotations

import pytest

from sagaline_server.core.transitions import TRANSITIONS, NodeStatus
from scripts.make_diagram import BEGIN, END, PAGE, diagram, events, put_into


def test_the_diagram_shows_every_move() -> None:
    """One arrow for each pair of statuses that an event leads between, with the event on it."""
    drawn = diagram().splitlines()
    for event, moves in TRANSITIONS.items():
        for old, new in moves.items():
            arrow = f"    {old.name} --> {new.name}: "
            found = [line for line in drawn if line.startswith(arrow)]
            assert len(found) == (old is not new)
            assert all(event.name in line for line in found)


def test_every_event_is_explained() -> None:
    """The table under the diagram says what each event is."""
    assert len(events().splitlines()) == len(TRANSITIONS) + 2


def test_it_is_put_between_the_markers() -> None:
    """What is around them stays, and doing it twice changes nothing."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    new = put_into(page)
    assert new.startswith(f"before\n{BEGIN}\n```mermaid\n")
    assert new.endswith(f"\n{END}\nafter\n")
    assert "old" not in new
    assert put_into(new) == new


@pytest.mark.parametrize("page", ["", BEGIN, END])
def test_a_page_without_markers_is_refused(page: str) -> None:
    """Nothing is written where nobody asked for it."""
    with pytest.raises(ValueError, match="needs these two lines"):
        put_into(page)


@pytest.mark.skipif(not PAGE.exists(), reason="there is no ARCHITECTURE.md yet")
def test_the_page_has_the_diagram_of_today() -> None:
    """If this fails: scripts/make_diagram.py --write."""
    assert put_into(PAGE.read_text()) == PAGE.read_text()


def test_every_status_is_in_it() -> None:
    """No status is forgotten."""
    assert all(f" {status.name}" in diagram() for status in NodeStatus)
