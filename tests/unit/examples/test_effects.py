"""Every change of the inventory happens once, and undo wins, whatever arrives in whatever order."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaline.errors import Failed
from sagaline_examples import effects
from sagaline_examples.effects import UNDONE_TYPE, EffectKey
from sagaline_examples.inventory import HOTELS, Inventory, give_back, take

KEY = EffectKey("saga-1", "hotel")
OTHER = EffectKey("saga-2", "hotel")


@dataclass(frozen=True)
class Room:
    number: int


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    inventory = Inventory(tmp_path / "inventory.db", durable=False)
    inventory.stock(HOTELS, "Astoria", 1)
    yield inventory
    inventory.close()


def book(inventory: Inventory, key: EffectKey = KEY) -> Room:
    return effects.act(inventory, key, lambda db: Room(take(db, HOTELS, "Astoria", key)), Room)


def release(inventory: Inventory, key: EffectKey = KEY) -> None:
    effects.reverse(inventory, key, lambda db: give_back(db, HOTELS, key))


def free(inventory: Inventory) -> int:
    with inventory.snapshot() as db:
        return int(db.execute("SELECT free FROM hotels").fetchone()[0])


def state(inventory: Inventory, key: EffectKey = KEY) -> str | None:
    with inventory.snapshot() as db:
        row = db.execute("SELECT state FROM effects WHERE saga = ? AND node = ?", (key.saga, key.node)).fetchone()
    return row[0] if row is not None else None


def test_an_action_that_comes_again_answers_what_it_answered(inventory: Inventory) -> None:
    assert book(inventory) == book(inventory) == Room(1)
    assert free(inventory) == 0
    assert state(inventory) == "DONE"


def test_a_failure_stands_even_when_there_is_room_later(inventory: Inventory) -> None:
    """What failed is not undone by the SEC, so a late copy of it must not succeed."""
    book(inventory, OTHER)
    with pytest.raises(Failed, match="NoCapacity"):
        book(inventory)
    release(inventory, OTHER)
    with pytest.raises(Failed, match="NoCapacity"):
        book(inventory)
    assert free(inventory) == 1


def test_an_undo_reverses_once(inventory: Inventory) -> None:
    book(inventory)
    release(inventory)
    release(inventory)
    assert free(inventory) == 1
    assert state(inventory) == "UNDONE"


@pytest.mark.parametrize("before", ["nothing", "done", "failed"])
def test_an_action_that_comes_after_the_undo_changes_nothing_and_says_so(inventory: Inventory, before: str) -> None:
    if before == "failed":
        book(inventory, OTHER)
        with pytest.raises(Failed):
            book(inventory)
        release(inventory, OTHER)
    elif before == "done":
        book(inventory)
    release(inventory)
    with pytest.raises(Failed, match=UNDONE_TYPE):
        book(inventory)
    assert free(inventory) == 1


def test_a_crash_of_the_action_leaves_nothing(inventory: Inventory) -> None:
    def change(db: sqlite3.Connection) -> Room:
        take(db, HOTELS, "Astoria", KEY)
        raise OSError("the power went")

    with pytest.raises(OSError, match="the power"):
        effects.act(inventory, KEY, change, Room)
    assert (free(inventory), state(inventory)) == (1, None)
    assert book(inventory) == Room(1)


@pytest.mark.parametrize("error", [OSError("the power went"), Failed("Locked")])
def test_an_undo_that_raises_leaves_everything_as_it_was(inventory: Inventory, error: Exception) -> None:
    book(inventory)

    def undo(db: sqlite3.Connection) -> None:
        give_back(db, HOTELS, KEY)
        raise error

    with pytest.raises(type(error)):
        effects.reverse(inventory, KEY, undo)
    assert (free(inventory), state(inventory)) == (0, "DONE")
    release(inventory)
    assert free(inventory) == 1


def test_copies_that_arrive_at_once_on_several_workers_change_once(tmp_path: Path, inventory: Inventory) -> None:
    """Each thread has a connection of its own, as a worker process has."""
    start = threading.Barrier(6)
    answers: list[Room] = []

    def worker() -> None:
        own = Inventory(tmp_path / "inventory.db", durable=False)
        start.wait(timeout=20)
        answers.append(book(own))
        own.close()

    threads = [threading.Thread(target=worker) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert answers == [Room(1)] * 6
    assert free(inventory) == 0


arrivals = st.lists(st.sampled_from(["action", "crash", "refused", "undo", "undo crash"]), max_size=12)


@given(arrivals=arrivals)
def test_undo_wins_whatever_arrives(tmp_path_factory: pytest.TempPathFactory, arrivals: list[str]) -> None:
    inventory = Inventory(tmp_path_factory.mktemp("any") / "inventory.db", durable=False)
    inventory.stock(HOTELS, "Astoria", 1)
    verdicts: list[str] = []
    undone = False
    for arrival in arrivals:
        match arrival:
            case "undo":
                release(inventory)
                undone = True
            case "undo crash":
                crashing_undo(inventory)
            case _:
                verdict = attempt(inventory, arrival)
                assert not (undone and verdict == "done")
                verdicts += [verdict] if verdict in {"done", "refused"} else []
        assert not undone or free(inventory) == 1
    assert len(set(verdicts)) <= 1, "an action's answer never changes before its undo"
    assert free(inventory) == (0 if "done" in verdicts and not undone else 1)
    assert counted(inventory) == ((1 if "done" in verdicts else 0), (1 if "done" in verdicts and undone else 0))
    inventory.close()


def attempt(inventory: Inventory, arrival: str) -> str:
    def change(db: sqlite3.Connection) -> Room:
        number = take(db, HOTELS, "Astoria", KEY)
        if arrival == "crash":
            raise OSError
        if arrival == "refused":
            raise Failed("Refused")
        return Room(number)

    try:
        effects.act(inventory, KEY, change, Room)
    except OSError:
        return "crashed"
    except Failed as failure:
        return "refused" if failure.type == "Refused" else "too late"
    return "done"


def crashing_undo(inventory: Inventory) -> None:
    """It crashes only where there is something to reverse; else it is an undo like any other."""
    if state(inventory) != "DONE":
        return

    def undo(db: sqlite3.Connection) -> None:
        give_back(db, HOTELS, KEY)
        raise OSError

    with pytest.raises(OSError):  # noqa: PT011 - raised three lines above
        effects.reverse(inventory, KEY, undo)


def counted(inventory: Inventory) -> tuple[int, int]:
    with inventory.snapshot() as db:
        kinds = [row[0] for row in db.execute("SELECT kind FROM changes")]
    return kinds.count("ACTION"), kinds.count("UNDO")
