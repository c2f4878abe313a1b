"""Pools run out, and give each thing to one saga only."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sagaline.errors import Failed
from sagaline_examples.inventory import FLIGHTS, POOL_KINDS, SERVERS, Holder, Inventory, give_back, take
from sagaline_examples.rows import read_rows


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[Inventory]:
    inventory = Inventory(tmp_path / "inventory.db", durable=False)
    inventory.stock(FLIGHTS, "SL 1", 3)
    inventory.stock(SERVERS, "rack-1", 8)
    yield inventory
    inventory.close()


def seat(inventory: Inventory, saga: str) -> int:
    with inventory.transaction() as db:
        return take(db, FLIGHTS, "SL 1", Holder(saga, "flight"))


def test_the_lowest_free_number_is_given(inventory: Inventory) -> None:
    assert [seat(inventory, saga) for saga in ("a", "b", "c")] == [1, 2, 3]
    with inventory.transaction() as db:
        give_back(db, FLIGHTS, Holder("b", "flight"))
    assert seat(inventory, "d") == 2


def test_what_runs_out_is_refused_and_says_what_is_left(inventory: Inventory) -> None:
    with inventory.transaction() as db:
        take(db, SERVERS, "rack-1", Holder("a", "reserve"), 6)
    with (
        pytest.raises(Failed, match="NoCapacity: rack-1 has 2 cores free, 4 are asked for"),
        inventory.transaction() as db,
    ):
        take(db, SERVERS, "rack-1", Holder("b", "reserve"), 4)


def test_a_pool_that_does_not_exist_is_refused(inventory: Inventory) -> None:
    with pytest.raises(Failed, match="NoSuchPool"), inventory.transaction() as db:
        take(db, FLIGHTS, "SL 2", Holder("a", "flight"))


def test_giving_back_what_is_not_held_needs_an_operator(inventory: Inventory) -> None:
    with pytest.raises(Failed, match="HoldingMissing"), inventory.transaction() as db:
        give_back(db, FLIGHTS, Holder("a", "flight"))


def test_pools_are_stocked_once(inventory: Inventory) -> None:
    seat(inventory, "a")
    inventory.stock(FLIGHTS, "SL 1", 3)
    assert [(pool.free, pool.held) for pool in read_rows(inventory).pools if pool.kind == "flights"] == [(2, 1)]


def test_every_kind_of_pool_has_its_tables(inventory: Inventory) -> None:
    for kind in POOL_KINDS:
        inventory.stock(kind, "pool", 2)
        with inventory.transaction() as db:
            assert take(db, kind, "pool", Holder("a", kind.table)) == 1
            give_back(db, kind, Holder("a", kind.table))


def test_sagas_that_want_the_last_seats_at_once_get_different_ones(tmp_path: Path, inventory: Inventory) -> None:
    """Each thread has a connection of its own, as a worker process has."""
    start = threading.Barrier(6)
    seats: list[int] = []
    refused: list[str] = []

    def worker(saga: str) -> None:
        own = Inventory(tmp_path / "inventory.db", durable=False)
        start.wait(timeout=20)
        try:
            seats.append(seat(own, saga))
        except Failed as failure:
            refused.append(failure.type)
        own.close()

    threads = [threading.Thread(target=worker, args=(f"saga-{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(seats) == [1, 2, 3]
    assert refused == ["NoCapacity"] * 3
