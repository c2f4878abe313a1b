"""The examples keep the promises of actions and undo actions: the testing kit looks."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest

from sagaline import Action, Graph
from sagaline.errors import SagaUnwound
from sagaline.testing import SecMaker
from sagaline_examples.inventory import POOL_KINDS, Inventory
from sagaline_examples.provision import actions as vm
from sagaline_examples.provision.fleet import FLEET
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import FleetRequest, Trouble, VmRequest
from sagaline_examples.trip import actions as trip
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import Trouble as TripTrouble
from tests.unit.examples.players import trip_request

CHECKS = ("assert_idempotent", "assert_unwinds", "assert_survives_crashes", "assert_undo_wins")
TABLES = [table for kind in POOL_KINDS for table in (kind.table, kind.holdings)] + ["instances", "itineraries"]

Example = tuple[Graph[Any, Any], tuple[Action[Any, Any], ...], Callable[[], Any]]


def examples() -> dict[str, Example]:
    """Graph, actions, and what makes parameters: small ones, so that what sagas keep is there for several of them."""
    numbers = count(1)
    return {
        "trip": (TRIP, trip.ACTIONS, lambda: trip_request(price_cents=100)),
        "provision": (PROVISION, vm.ACTIONS, lambda: VmRequest(f"vm-{next(numbers)}", volume_gb=1)),
        "fleet": (FLEET, vm.ACTIONS, lambda: FleetRequest(f"fleet-{next(numbers)}", machines=2, cores=1)),
    }


@pytest.fixture(params=["trip", "provision", "fleet"])
def example(request: pytest.FixtureRequest) -> Example:
    return examples()[request.param]


def rows_of(world: Inventory) -> dict[str, list[Any]]:
    """All rows, but for the barrier's and the counts of what was done: these grow with what comes twice."""
    with world.snapshot() as db:
        return {table: sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr) for table in TABLES}


@pytest.mark.parametrize("check", CHECKS)
def test_actions_keep_their_promises(sagaline_sec: SecMaker, world: Inventory, example: Example, check: str) -> None:
    graph, actions, params = example
    make_room(world)
    sec = sagaline_sec(actions, snapshot=lambda: rows_of(world))
    getattr(sec, check)(graph, params)


def make_room(world: Inventory) -> None:
    """Some rounds succeed, and keep what they took."""
    with world.transaction() as db:
        for kind in POOL_KINDS:
            db.execute(f"UPDATE {kind.table} SET capacity = capacity + 1000, free = free + 1000")


def test_trouble_ends_as_it_should(sagaline_sec: SecMaker, world: Inventory) -> None:
    sec = sagaline_sec([*trip.ACTIONS, *vm.ACTIONS], snapshot=lambda: rows_of(world))
    before = rows_of(world)
    with pytest.raises(SagaUnwound, match="PassportExpired"):
        sec.run(TRIP, trip_request(trouble=TripTrouble.CONFIRM_FAILS))
    with pytest.raises(SagaUnwound, match="BootFailed"):
        sec.run(PROVISION, VmRequest("vm", trouble=Trouble.BOOT_FAILS))
    assert rows_of(world) == before
    assert sec.run(TRIP, trip_request(trouble=TripTrouble.PAYMENT_FLAKY)).traveller == "Ada"
    assert sec.run(PROVISION, VmRequest("vm", trouble=Trouble.VOLUME_FLAKY)).name == "vm"
    assert sec.run(PROVISION, VmRequest("vm-2", trouble=Trouble.SLOW)).name == "vm-2"


def test_a_fleet_is_machines_in_their_order_or_nothing(sagaline_sec: SecMaker, world: Inventory) -> None:
    make_room(world)
    sec = sagaline_sec(vm.ACTIONS, snapshot=lambda: rows_of(world))
    before = rows_of(world)
    with pytest.raises(SagaUnwound, match="NoCapacity"):
        sec.run(FLEET, FleetRequest("web", machines=3, cores=10_000))
    assert rows_of(world) == before
    machines = sec.run(FLEET, FleetRequest("web", machines=3))
    assert [machine.name for machine in machines] == ["web-0", "web-1", "web-2"]
    assert all(machine.server.startswith("a/") for machine in machines)
