"""Which sagas the clients of a run create: both examples, with trouble of every kind, and much that takes its time."""

from __future__ import annotations

import random
from typing import Any

from sagaline import NewSaga
from sagaline_examples.demo.plan import FLIGHT, HOTEL, STATION
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import Trouble as VmTrouble
from sagaline_examples.provision.values import VmRequest
from sagaline_examples.trip.graph import TRIP
from sagaline_examples.trip.values import TripRequest
from sagaline_examples.trip.values import Trouble as TripTrouble

VM_TROUBLES = {
    VmTrouble.NONE: 6,
    VmTrouble.SLOW: 6,
    VmTrouble.VOLUME_FLAKY: 3,
    VmTrouble.BOOT_FAILS: 4,
    VmTrouble.UNDO_FAILS: 1,
}
TRIP_TROUBLES = {
    TripTrouble.NONE: 6,
    TripTrouble.SLOW: 6,
    TripTrouble.PAYMENT_FLAKY: 3,
    TripTrouble.CONFIRM_FAILS: 5,
}
"""How often each is drawn. Besides, pools run out: for every second saga there is enough of everything."""
TRAVELLERS = ("ada", "grace", "grace")


def draw_orders(count: int, chance: random.Random) -> list[NewSaga[Any]]:
    """Return so many sagas, half of them of each example."""
    orders: list[NewSaga[Any]] = []
    for number in range(count):
        if number % 2:
            trouble = chance.choices(list(VM_TROUBLES), list(VM_TROUBLES.values()))[0]
            name = f"vm-{number:04}"
            orders.append(NewSaga(PROVISION, VmRequest(name, trouble=trouble), saga_id=name))
        else:
            trip = chance.choices(list(TRIP_TROUBLES), list(TRIP_TROUBLES.values()))[0]
            traveller = chance.choice(TRAVELLERS)
            request = TripRequest(traveller, traveller, HOTEL, FLIGHT, STATION, trouble=trip)
            orders.append(NewSaga(TRIP, request, saga_id=f"trip-{number:04}"))
    return orders
