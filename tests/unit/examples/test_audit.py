"""The audit finds every kind of wrong, and nothing wrong where nothing is."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from sagaline.errors import Failed
from sagaline.v1 import saga_pb2
from sagaline_examples.audit import SUCCEEDED, UNWOUND, SagaEnd, audit, print_report
from sagaline_examples.inventory import Inventory
from sagaline_examples.provision import actions as vm
from sagaline_examples.provision.values import Trouble, VmRequest
from tests.unit.examples.players import TRIP_NODES, VM_NODES, act, make_trip, make_vm, trip_request, undo, unwind

VM = SagaEnd("vm", "provision", SUCCEEDED)
TRIP = SagaEnd("trip", "trip", SUCCEEDED)
VM_UNDONE = SagaEnd("vm-undone", "provision", UNWOUND)
TRIP_UNDONE = SagaEnd("trip-undone", "trip", UNWOUND)
ALL = (VM, TRIP, VM_UNDONE, TRIP_UNDONE)


@pytest.fixture
async def settled(world: Inventory) -> Inventory:
    """Two sagas that succeeded, and two that unwound: one at its end, one because its boot failed."""
    await make_vm(VM.saga_id, VmRequest("vm"))
    await make_trip(TRIP.saga_id, trip_request())
    with pytest.raises(Failed, match="BootFailed"):
        await make_vm(VM_UNDONE.saga_id, VmRequest("vm-undone", trouble=Trouble.BOOT_FAILS))
    await unwind(VM_UNDONE.saga_id, VM_NODES)
    await make_trip(TRIP_UNDONE.saga_id, trip_request())
    await unwind(TRIP_UNDONE.saga_id, TRIP_NODES)
    return world


def rules(inventory: Inventory, *ends: SagaEnd) -> set[tuple[str, str]]:
    return {(violation.rule, violation.subject) for violation in audit(inventory, ends or ALL).violations}


def change(inventory: Inventory, *statements: str) -> None:
    with inventory.transaction() as db:
        for statement in statements:
            db.execute(statement)


def test_all_or_nothing_is_no_violation(settled: Inventory) -> None:
    assert audit(settled, ALL).violations == ()


def test_an_empty_inventory_is_no_violation(world: Inventory) -> None:
    assert audit(world, ()).violations == ()


def test_a_saga_that_failed_at_its_first_node_left_nothing(world: Inventory) -> None:
    end = SagaEnd("early", "trip", UNWOUND)
    assert rules(world, end) == set()


async def test_an_undo_that_nobody_sent_is_a_leak(settled: Inventory) -> None:
    await act("late", "car", TRIP_NODES["car"], "Airport")
    assert rules(settled, *ALL, SagaEnd("late", "trip", UNWOUND)) == {("leak", "late")}


@pytest.mark.parametrize(
    "row",
    [
        "INSERT INTO rooms (saga, node, pool, number, amount) VALUES ('trip-undone', 'hotel', 'Astoria', 5, 1)",
        "INSERT INTO instances (saga, name, state) VALUES ('vm-undone', 'vm-undone', 'NEW')",
        "INSERT INTO itineraries (saga, traveller, summary) VALUES ('trip-undone', 'Ada', 'somewhere')",
    ],
)
def test_a_row_left_by_an_unwound_saga_is_a_leak(settled: Inventory, row: str) -> None:
    change(settled, row)
    assert "leak" in {rule for rule, _subject in rules(settled)}


def test_a_charge_made_twice_is_found_by_its_row(settled: Inventory) -> None:
    """The second one is booked in order, so that the pool adds up."""
    change(
        settled,
        "INSERT INTO charges (saga, node, pool, number, amount) VALUES ('trip', 'pay again', 'ada', 9, 50000)",
        "UPDATE accounts SET free = free - 50000 WHERE name = 'ada'",
    )
    assert rules(settled) == {("surplus", "trip")}


def test_a_charge_of_twice_the_price_is_found(settled: Inventory) -> None:
    change(
        settled,
        "UPDATE charges SET amount = 100000 WHERE saga = 'trip'",
        "UPDATE accounts SET free = free - 50000 WHERE name = 'ada'",
    )
    assert rules(settled) == {("surplus", "trip"), ("half-done", "trip")}


def test_money_that_is_gone_without_a_row_is_found_by_the_pool(settled: Inventory) -> None:
    change(settled, "UPDATE accounts SET free = free - 50000 WHERE name = 'ada'")
    assert rules(settled) == {("pool", "accounts/ada")}


@pytest.mark.parametrize("kind", ["ACTION", "UNDO"])
def test_a_change_made_twice_is_found_by_the_count(settled: Inventory, kind: str) -> None:
    change(settled, f"INSERT INTO changes (saga, node, kind) VALUES ('trip-undone', 'pay', '{kind}')")
    assert rules(settled) == {("double", "trip-undone")}


def test_a_change_that_was_not_counted_is_found(settled: Inventory) -> None:
    change(settled, "DELETE FROM changes WHERE saga = 'trip' AND node = 'car'")
    assert rules(settled) == {("miscounted", "trip")}


def test_a_change_of_a_node_that_was_not_recorded_is_found(settled: Inventory) -> None:
    change(settled, "INSERT INTO changes (saga, node, kind) VALUES ('trip', 'elsewhere', 'ACTION')")
    assert rules(settled) == {("miscounted", "trip")}


async def test_a_saga_that_succeeded_without_its_last_node_is_half_done(settled: Inventory) -> None:
    await undo(VM.saga_id, "boot", vm.boot)
    assert rules(settled) == {("half-done", "vm")}


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM sagaline_barrier WHERE saga_id = 'vm' AND node = 'attach'",
        "UPDATE volumes SET attached_to = NULL WHERE saga = 'vm'",
        "UPDATE instances SET server = 'b/rack-7' WHERE saga = 'vm'",
        "UPDATE instances SET address = '10.0.9.9' WHERE saga = 'vm'",
        "UPDATE addresses SET host = NULL WHERE saga = 'vm'",
        "DELETE FROM instances WHERE saga = 'vm'",
        "DELETE FROM reservations WHERE saga = 'vm'",
    ],
)
def test_a_saga_that_succeeded_and_lacks_a_part_is_half_done(settled: Inventory, statement: str) -> None:
    change(settled, statement)
    assert ("half-done", "vm") in rules(settled)


def test_an_undone_saga_that_is_said_to_have_succeeded_is_half_done(settled: Inventory) -> None:
    assert rules(settled, VM, TRIP, VM_UNDONE, replace(TRIP_UNDONE, state=SUCCEEDED)) == {("half-done", "trip-undone")}


def test_a_whole_saga_that_is_said_to_be_unwound_is_a_leak(settled: Inventory) -> None:
    assert rules(settled, replace(VM, state=UNWOUND), TRIP, VM_UNDONE, TRIP_UNDONE) == {("leak", "vm")}


@pytest.mark.parametrize("state", ["running", "unwinding", "stuck", "quarantined"])
def test_a_saga_that_has_not_ended_is_a_violation(settled: Inventory, state: str) -> None:
    assert rules(settled, replace(VM, state=state), TRIP, VM_UNDONE, TRIP_UNDONE) == {("not-ended", "vm")}


def test_rows_of_a_saga_that_nobody_knows_are_a_violation(settled: Inventory) -> None:
    assert rules(settled, VM, VM_UNDONE, TRIP_UNDONE) == {("unknown-saga", "trip")}


def test_a_graph_that_the_audit_does_not_know_is_a_violation(settled: Inventory) -> None:
    assert rules(settled, *ALL, SagaEnd("other", "laundry", SUCCEEDED)) == {("unknown-graph", "other")}


def test_the_state_is_read_from_what_a_sec_answers() -> None:
    saga = saga_pb2.Saga(saga_id="vm", graph_name="provision", state=saga_pb2.SAGA_STATE_SUCCEEDED)
    assert SagaEnd.of(saga) == VM


def test_the_report_shows_what_is_wrong(settled: Inventory) -> None:
    change(settled, "UPDATE accounts SET free = free - 1 WHERE name = 'ada'")
    out = io.StringIO()
    print_report(audit(settled, ALL), Console(file=out, width=120))
    assert "1 violations" in out.getvalue()
    assert "accounts/ada" in out.getvalue()


def test_the_report_says_that_nothing_is_wrong(settled: Inventory) -> None:
    out = io.StringIO()
    print_report(audit(settled, ALL), Console(file=out, width=120))
    assert "No violations: each of 4 sagas left all or nothing." in out.getvalue()
