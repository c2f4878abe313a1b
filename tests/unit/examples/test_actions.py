"""The actions do what their graphs need, and go wrong where they are told to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sagaline.errors import Failed, Retry
from sagaline.v1 import saga_pb2
from sagaline_examples.audit import SUCCEEDED, UNWOUND, SagaEnd, audit
from sagaline_examples.inventory import Inventory
from sagaline_examples.provision import actions as vm
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import Need, Trouble, Vm, VmRequest, Volume
from sagaline_examples.shapes import SHAPES
from sagaline_examples.trip import actions as trip
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import Trouble as TripTrouble
from tests.unit.examples.players import TRIP_NODES, VM_NODES, act, make_trip, make_vm, trip_request, undo, unwind


async def test_a_machine_is_provisioned(world: Inventory) -> None:
    assert await make_vm("vm", VmRequest("vm-1")) == Vm("vm-1", "10.0.0.1", "a/rack-1")
    assert not audit(world, [SagaEnd("vm", "provision", SUCCEEDED)]).violations


async def test_a_trip_is_booked(world: Inventory) -> None:
    itinerary = await make_trip("trip", trip_request())
    assert itinerary.summary == "room 1 of Astoria, seat 1 of SL 1, car 1 at Airport, paid by ada"


async def test_slow_ones_succeed_as_well(world: Inventory) -> None:
    await make_vm("vm", VmRequest("vm", trouble=Trouble.SLOW))
    await make_trip("trip", trip_request(trouble=TripTrouble.SLOW))


async def test_servers_run_out(world: Inventory) -> None:
    await make_vm("vm-1", VmRequest("vm-1", Need(cores=4)))
    with pytest.raises(Failed, match="NoCapacity"):
        await make_vm("vm-2", VmRequest("vm-2"))
    await unwind("vm-2", VM_NODES)
    ends = [SagaEnd("vm-1", "provision", SUCCEEDED), SagaEnd("vm-2", "provision", UNWOUND)]
    assert not audit(world, ends).violations


async def test_a_server_that_was_free_may_be_full_when_its_turn_comes(world: Inventory) -> None:
    choice = await act("vm-1", "server/pick", vm.pick_server, Need(cores=3))
    await act("vm-2", "server/reserve", vm.reserve_server, choice, 3)
    with pytest.raises(Failed, match="NoCapacity: a/rack-1 has 1 cores free, 3 are asked for"):
        await act("vm-1", "server/reserve", vm.reserve_server, choice, 3)


async def test_only_servers_of_the_zone_are_picked(world: Inventory) -> None:
    with pytest.raises(Failed, match="no server in zone b"):
        await act("vm", "server/pick", vm.pick_server, Need(zone="b"))


async def test_money_runs_out(world: Inventory) -> None:
    await make_trip("trip-1", trip_request(price_cents=80_000))
    with pytest.raises(Failed, match="NoCapacity: ada has 20000 cents free"):
        await make_trip("trip-2", trip_request())


async def test_a_flaky_volume_is_made_once(world: Inventory) -> None:
    """The first attempt does nothing, the second does it and says that it may not have, the third knows."""
    inputs = ("vm", "volume", vm.create_volume, 20, Trouble.VOLUME_FLAKY)
    with pytest.raises(Retry, match="ArrayBusy"):
        await act(*inputs, attempt=1)
    with pytest.raises(Retry, match="AnswerLost"):
        await act(*inputs, attempt=2)
    assert await act(*inputs, attempt=3) == Volume(vm.ARRAY, 1, 20)
    with world.snapshot() as db:
        assert db.execute("SELECT free FROM arrays").fetchone() == (80,)


async def test_a_flaky_payment_is_made_once(world: Inventory) -> None:
    inputs = ("trip", "pay", trip.charge, "ada", 10_000, TripTrouble.PAYMENT_FLAKY)
    with pytest.raises(Retry, match="AnswerLost"):
        await act(*inputs, attempt=1)
    await act(*inputs, attempt=2)
    with world.snapshot() as db:
        assert db.execute("SELECT free FROM accounts").fetchone() == (90_000,)


async def test_a_trip_that_cannot_be_confirmed_unwinds_to_nothing(world: Inventory) -> None:
    with pytest.raises(Failed, match="PassportExpired"):
        await make_trip("trip", trip_request(trouble=TripTrouble.CONFIRM_FAILS))
    await unwind("trip", TRIP_NODES)
    assert not audit(world, [SagaEnd("trip", "trip", UNWOUND)]).violations


async def test_a_locked_volume_cannot_be_deleted_before_it_is_unlocked(world: Inventory) -> None:
    with pytest.raises(Failed, match="BootFailed"):
        await make_vm("vm", VmRequest("vm", trouble=Trouble.UNDO_FAILS))
    for _attempt in range(2):
        with pytest.raises(Failed, match="VolumeLocked"):
            await undo("vm", "volume", vm.create_volume)
    with world.transaction() as db:
        db.execute("UPDATE volumes SET locked = 0 WHERE saga = 'vm'")
    await unwind("vm", VM_NODES)
    assert not audit(world, [SagaEnd("vm", "provision", UNWOUND)]).violations


CHANGE_NOTHING = (vm.pick_server, vm.plan_fleet, vm.name_machine)

# ---- the graphs --------------------------------------------------------------------------------------------


def changing_nodes(graph: saga_pb2.Graph, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield name and action of the nodes that have something to undo."""
    for node in graph.nodes:
        if node.HasField("subsaga"):
            yield from changing_nodes(node.subsaga.graph, f"{prefix}{node.name}/")
        elif node.HasField("action") and node.action.undo.kind != saga_pb2.UNDO_KIND_NOOP:
            yield prefix + node.name, node.action.action


@pytest.mark.parametrize(("graph", "nodes"), [(PROVISION, VM_NODES), (TRIP, TRIP_NODES)], ids=["provision", "trip"])
def test_the_audit_and_the_players_know_the_nodes_that_the_graph_has(graph: object, nodes: dict[str, object]) -> None:
    assert isinstance(graph, type(PROVISION))
    proto = graph.to_proto()
    named = dict(changing_nodes(proto))
    assert named.keys() == SHAPES[proto.name].nodes == nodes.keys()
    assert named == {name: getattr(action, "name", None) for name, action in nodes.items()}


def test_every_action_of_the_graphs_is_served() -> None:
    served = {action.name for action in (*vm.ACTIONS, *trip.ACTIONS)}
    used = {name for graph in (PROVISION, TRIP) for _node, name in changing_nodes(graph.to_proto())}
    assert served - used == {action.name for action in CHANGE_NOTHING}
    assert used <= served


def test_whatever_can_be_undone_has_an_undo_action() -> None:
    without = [action.name for action in (*vm.ACTIONS, *trip.ACTIONS) if action.backward is None]
    assert without == [action.name for action in CHANGE_NOTHING]
