"""Which sagas the demonstration runs, and on how much: some find pools empty, some get trouble, and one gets stuck."""

from __future__ import annotations

from typing import Any

from sagaline import NewSaga
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
from sagaline_examples.provision.actions import ARRAY, NETWORK
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import Need, VmRequest
from sagaline_examples.provision.values import Trouble as VmTrouble
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import TripRequest
from sagaline_examples.trip.values import Trouble as TripTrouble

SAGAS_MIN = 16
"""With fewer, not every outcome would be seen."""

STUCK_SAGA = "vm-00"
"""The one whose volume gets locked."""

HOTEL = "Astoria"
FLIGHT = "SL 101"
STATION = "Airport"
VOLUME_GB = 20
PRICE_CENTS = 50_000

# Every seventh of each kind: the numbers are those of the first.
VM_TROUBLES = {1: VmTrouble.VOLUME_FLAKY, 3: VmTrouble.BOOT_FAILS, 5: VmTrouble.SLOW}
TRIP_TROUBLES = {1: TripTrouble.PAYMENT_FLAKY, 3: TripTrouble.CONFIRM_FAILS, 5: TripTrouble.SLOW}
TROUBLE_PERIOD = 7


def stock(inventory: Inventory, sagas: int) -> None:
    """Fill the pools: servers and rooms for half of those who will ask, and one traveller who is short of money."""
    each = sagas // 2
    racks = 4
    for rack in range(racks):
        inventory.stock(SERVERS, f"a/rack-{rack + 1}", 2 * max(1, each // 2 // racks))
    inventory.stock(SERVERS, "b/rack-1", 2)  # for the saga that is to come as far as boot
    inventory.stock(ARRAYS, ARRAY, VOLUME_GB * (each + 1))
    inventory.stock(NETWORKS, NETWORK, each + 1)
    inventory.stock(ACCOUNTS, "ada", PRICE_CENTS * (each // 2 - 1))
    inventory.stock(ACCOUNTS, "grace", PRICE_CENTS * each)
    inventory.stock(HOTELS, HOTEL, each // 2)
    inventory.stock(FLIGHTS, FLIGHT, each)
    inventory.stock(STATIONS, STATION, each)


def orders(sagas: int) -> list[NewSaga[Any]]:
    """Return the sagas in the order in which they are created, half of them of each graph."""
    pairs = [(_vm(number), _trip(number)) for number in range(sagas // 2)]
    return [order for pair in pairs for order in pair]


def _vm(number: int) -> NewSaga[Any]:
    saga_id = f"vm-{number:02}"
    if saga_id == STUCK_SAGA:
        request = VmRequest(saga_id, Need(zone="b"), VOLUME_GB, VmTrouble.UNDO_FAILS)
    else:
        trouble = VM_TROUBLES.get(number % TROUBLE_PERIOD, VmTrouble.NONE)
        request = VmRequest(saga_id, Need(zone="a"), VOLUME_GB, trouble)
    return NewSaga(PROVISION, request, saga_id=saga_id, labels={"example": "provision"})


def _trip(number: int) -> NewSaga[Any]:
    saga_id = f"trip-{number:02}"
    trouble = TRIP_TROUBLES.get(number % TROUBLE_PERIOD, TripTrouble.NONE)
    traveller = "ada" if number % 2 else "grace"
    request = TripRequest(traveller, traveller, HOTEL, FLIGHT, STATION, PRICE_CENTS, trouble)
    return NewSaga(TRIP, request, saga_id=saga_id, labels={"example": "trip"})
