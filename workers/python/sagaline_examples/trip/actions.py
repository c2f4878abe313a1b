"""The actions, and how each is undone. Every change goes through `effects`, so that it happens once and undo wins."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

from sagaline import Context, Failed, Retry, action
from sagaline_examples import effects
from sagaline_examples.effects import EffectKey
from sagaline_examples.inventory import ACCOUNTS, FLIGHTS, HOTELS, STATIONS, PoolKind, give_back, inventory, take
from sagaline_examples.trip.values import Car, Itinerary, Receipt, Room, Seat, Trouble

LOST_ANSWER_DELAY = timedelta(milliseconds=50)
SLOW_HOTEL_S = 0.3


def key_of(context: Context) -> EffectKey:
    return EffectKey(context.saga_id, context.node)


def give_back_once(context: Context, kind: PoolKind) -> None:
    effects.reverse(inventory(), key_of(context), lambda db: give_back(db, kind, key_of(context)))


@action("trip.charge")
def charge(context: Context, account: str, cents: int, trouble: Trouble) -> Receipt:
    def change(db: sqlite3.Connection) -> Receipt:
        return Receipt(account, take(db, ACCOUNTS, account, key_of(context), cents), cents)

    receipt = effects.act(inventory(), key_of(context), change, Receipt)
    if trouble is Trouble.PAYMENT_FLAKY and context.attempt == 1:
        raise Retry("AnswerLost", "the money is gone, and nobody was told of it", LOST_ANSWER_DELAY)
    return receipt


@charge.undo
def refund(context: Context) -> None:
    give_back_once(context, ACCOUNTS)


@action("trip.book_hotel")
async def book_hotel(context: Context, hotel: str, trouble: Trouble) -> Room:
    if trouble is Trouble.SLOW:
        await asyncio.sleep(SLOW_HOTEL_S)

    def change(db: sqlite3.Connection) -> Room:
        return Room(hotel, take(db, HOTELS, hotel, key_of(context)))

    return await asyncio.to_thread(effects.act, inventory(), key_of(context), change, Room)


@book_hotel.undo
async def release_room(context: Context) -> None:
    await asyncio.to_thread(give_back_once, context, HOTELS)


@action("trip.book_flight")
def book_flight(context: Context, flight: str) -> Seat:
    def change(db: sqlite3.Connection) -> Seat:
        return Seat(flight, take(db, FLIGHTS, flight, key_of(context)))

    return effects.act(inventory(), key_of(context), change, Seat)


@book_flight.undo
def release_seat(context: Context) -> None:
    give_back_once(context, FLIGHTS)


@action("trip.rent_car")
def rent_car(context: Context, station: str) -> Car:
    def change(db: sqlite3.Connection) -> Car:
        return Car(station, take(db, STATIONS, station, key_of(context)))

    return effects.act(inventory(), key_of(context), change, Car)


@rent_car.undo
def return_car(context: Context) -> None:
    give_back_once(context, STATIONS)


@action("trip.confirm")
def confirm(
    context: Context, traveller: str, receipt: Receipt, room: Room, seat: Seat, car: Car, trouble: Trouble
) -> Itinerary:
    def change(db: sqlite3.Connection) -> Itinerary:
        if trouble is Trouble.CONFIRM_FAILS:
            raise Failed("PassportExpired", f"{traveller} cannot travel")
        summary = (
            f"room {room.number} of {room.hotel}, seat {seat.number} of {seat.flight}, "
            f"car {car.number} at {car.station}, paid by {receipt.account}"
        )
        db.execute(
            "INSERT INTO itineraries (saga, traveller, summary) VALUES (?, ?, ?)", (context.saga_id, traveller, summary)
        )
        return Itinerary(traveller, summary)

    return effects.act(inventory(), key_of(context), change, Itinerary)


@confirm.undo
def withdraw(context: Context) -> None:
    def undo(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM itineraries WHERE saga = ?", (context.saga_id,))

    effects.reverse(inventory(), key_of(context), undo)


ACTIONS = (charge, book_hotel, book_flight, rent_car, confirm)
