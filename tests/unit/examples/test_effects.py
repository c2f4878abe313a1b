"""Every change of the inventory happens once, is counted, and undo wins. What barriers do is tested with them."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagaline import Context
from sagaline.errors import Failed, Suppressed
from sagaline_examples.effects import once
from sagaline_examples.inventory import HOTELS, Holder, Inventory, give_back, open_inventory, take
from tests.unit.examples.players import context, undo_context

NODE = ("saga-1", "hotel")
ROOMS = 5
"""Of which the world has so many."""


@once
def book(db: sqlite3.Connection, context: Context, fate: str = "done") -> int:
    number = take(db, HOTELS, "Astoria", Holder.of(context))
    if fate == "refused":
        raise Failed("Refused")
    if fate == "crash":
        raise OSError("the power went")
    return number


@once
def release(db: sqlite3.Connection, context: Context, fate: str = "done") -> None:
    give_back(db, HOTELS, Holder.of(context))
    if fate == "crash":
        raise OSError("the power went")


def free(inventory: Inventory) -> int:
    with inventory.snapshot() as db:
        return int(db.execute("SELECT free FROM hotels").fetchone()[0])


def counted(inventory: Inventory) -> tuple[int, int]:
    with inventory.snapshot() as db:
        kinds = [row[0] for row in db.execute("SELECT kind FROM changes")]
    return kinds.count("ACTION"), kinds.count("UNDO")


def test_a_change_is_made_and_counted_once(world: Inventory) -> None:
    assert book(context(*NODE)) == book(context(*NODE)) == 1
    assert (free(world), counted(world)) == (ROOMS - 1, (1, 0))
    for _ in range(2):
        release(undo_context(*NODE))
    assert (free(world), counted(world)) == (ROOMS, (1, 1))
    with pytest.raises(Suppressed):
        book(context(*NODE))


def test_a_failure_is_no_change_and_stands(world: Inventory) -> None:
    for fate in ("refused", "done"):
        with pytest.raises(Failed, match="Refused"):
            book(context(*NODE), fate)
    assert (free(world), counted(world)) == (ROOMS, (0, 0))


def test_copies_that_arrive_at_once_on_several_threads_change_once(world: Inventory) -> None:
    start = threading.Barrier(6)
    answers: list[int] = []

    def worker() -> None:
        start.wait(timeout=20)
        answers.append(book(context(*NODE)))

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert answers == [1] * 6
    assert (free(world), counted(world)) == (ROOMS - 1, (1, 0))


arrivals = st.lists(st.sampled_from(["done", "crash", "refused", "undo", "undo crash"]), max_size=12)


@settings(deadline=None)
@given(arrivals=arrivals)
def test_g11_undo_wins_whatever_arrives(tmp_path_factory: pytest.TempPathFactory, arrivals: list[str]) -> None:
    inventory = open_inventory(tmp_path_factory.mktemp("any") / "inventory.db", durable=False)
    inventory.stock(HOTELS, "Astoria", ROOMS)
    told = [arrive(arrival) for arrival in arrivals]
    undone = told.index("undone") if "undone" in told else len(told)
    answers = {answer for answer in told[:undone] if answer in {"done", "refused"}}
    assert len(answers) <= 1, "an action's answer never changes before its undo"
    assert not {"done", "refused"} & set(told[undone:]), "and after it there is none"
    stands = answers == {"done"} and undone == len(told)
    assert free(inventory) == ROOMS - stands
    assert counted(inventory) == (answers == {"done"}, answers == {"done"} and not stands)
    inventory.close()


def arrive(arrival: str) -> str:
    try:
        if arrival.startswith("undo"):
            release(undo_context(*NODE), arrival.removeprefix("undo").strip() or "done")
            return "undone"
        book(context(*NODE), arrival)
    except OSError:
        return "crashed"
    except Suppressed:
        return "suppressed"
    except Failed:
        return "refused"
    return "done"


def test_the_file_is_that_of_the_process(tmp_path: Path) -> None:
    """Actions change the inventory that was opened last, whichever was open when they were decorated."""
    for name in ("a.db", "b.db"):
        inventory = open_inventory(tmp_path / name, durable=False)
        inventory.stock(HOTELS, "Astoria", ROOMS)
        assert book(context(*NODE)) == 1
        assert free(inventory) == ROOMS - 1
        inventory.close()
