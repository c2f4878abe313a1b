"""Plays sagas of the examples in this process, node by node, with the real actions on a real inventory."""

from __future__ import annotations

from typing import Any

from sagaline import Action, Context
from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_examples.inventory import (
    ACCOUNTS,
    ARRAYS,
    FLIGHTS,
    HOTELS,
    NETWORKS,
    SERVERS,
    STATIONS,
    Inventory,
)
from sagaline_examples.provision import actions as vm
from sagaline_examples.provision.values import Vm, VmRequest
from sagaline_examples.trip import actions as trip
from sagaline_examples.trip.values import Itinerary, TripRequest

VM_NODES: dict[str, Action[Any, Any]] = {
    "instance": vm.create_instance,
    "address": vm.allocate_address,
    "volume": vm.create_volume,
    "server/reserve": vm.reserve_server,
    "configure": vm.configure,
    "attach": vm.attach_volume,
    "boot": vm.boot,
}
TRIP_NODES: dict[str, Action[Any, Any]] = {
    "pay": trip.charge,
    "hotel": trip.book_hotel,
    "flight": trip.book_flight,
    "car": trip.rent_car,
    "confirm": trip.confirm,
}


def stock(inventory: Inventory) -> None:
    inventory.stock(SERVERS, "a/rack-1", 4)
    inventory.stock(ARRAYS, vm.ARRAY, 100)
    inventory.stock(NETWORKS, vm.NETWORK, 10)
    inventory.stock(ACCOUNTS, "ada", 100_000)
    inventory.stock(HOTELS, "Astoria", 5)
    inventory.stock(FLIGHTS, "SL 1", 5)
    inventory.stock(STATIONS, "Airport", 5)


def trip_request(**changes: Any) -> TripRequest:
    return TripRequest(
        **{"traveller": "Ada", "account": "ada", "hotel": "Astoria", "flight": "SL 1", "station": "Airport"} | changes
    )


def context(saga: str, node: str, attempt: int = 1) -> Context:
    ref = pb.InvocationRef(saga_id=saga, node=node, kind=saga_pb2.INVOCATION_KIND_ACTION, attempt=attempt)
    return Context(pb.Invocation(ref=ref), lambda _progress: None)


def undo_context(saga: str, node: str) -> Context:
    ref = pb.InvocationRef(saga_id=saga, node=node, kind=saga_pb2.INVOCATION_KIND_UNDO, attempt=1)
    about = pb.UndoContext(action_outcome=pb.ACTION_OUTCOME_UNKNOWN)
    return Context(pb.Invocation(ref=ref, undo=about), lambda _progress: None)


async def act(saga: str, node: str, action: Action[Any, Any], *inputs: object, attempt: int = 1) -> Any:
    side = action.forward
    answer = side.call(context(saga, node, attempt), dict(zip(side.inputs, inputs, strict=True)))
    return await answer if side.is_async else answer


async def undo(saga: str, node: str, action: Action[Any, Any]) -> None:
    assert action.backward is not None
    answer = action.backward.call(undo_context(saga, node), {})
    if action.backward.is_async:
        await answer


async def make_vm(saga: str, request: VmRequest) -> Vm:
    instance = await act(saga, "instance", vm.create_instance, request)
    address = await act(saga, "address", vm.allocate_address, instance)
    volume = await act(saga, "volume", vm.create_volume, request.volume_gb, request.trouble)
    choice = await act(saga, "server/pick", vm.pick_server, request.need)
    reservation = await act(saga, "server/reserve", vm.reserve_server, choice, request.need.cores)
    configuration = await act(saga, "configure", vm.configure, address, reservation)
    await act(saga, "attach", vm.attach_volume, instance, volume)
    machine: Vm = await act(saga, "boot", vm.boot, instance, configuration, request.trouble)
    return machine


async def make_trip(saga: str, request: TripRequest) -> Itinerary:
    receipt = await act(saga, "pay", trip.charge, request.account, request.price_cents, request.trouble)
    room = await act(saga, "hotel", trip.book_hotel, request.hotel, request.trouble)
    seat = await act(saga, "flight", trip.book_flight, request.flight)
    car = await act(saga, "car", trip.rent_car, request.station)
    bookings = (request.traveller, receipt, room, seat, car, request.trouble)
    itinerary: Itinerary = await act(saga, "confirm", trip.confirm, *bookings)
    return itinerary


async def unwind(saga: str, nodes: dict[str, Action[Any, Any]]) -> None:
    """In reverse; where a node never ran, its undo finds nothing to do."""
    for node, action in reversed(nodes.items()):
        await undo(saga, node, action)
