"""The actions, and how each is undone. Every change goes through `once`, so that it happens once and undo wins."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta

from sagaline import Context, Failed, Retry, action
from sagaline_examples.effects import once
from sagaline_examples.inventory import ACCOUNTS, FLIGHTS, HOTELS, STATIONS, Holder, give_back, take
from sagaline_examples.trip.values import Car, Itinerary, Receipt, Room, Seat, Trouble

LOST_ANSWER_DELAY = timedelta(milliseconds=50)
SLOW_HOTEL_S = 0.3


@action("trip.charge")
def charge(context: Context, account: str, cents: int, trouble: Trouble) -> Receipt:
    receipt = take_money(context, account, cents)
    if trouble is Trouble.PAYMENT_FLAKY and context.attempt == 1:
        raise Retry("AnswerLost", "the money is gone, and nobody was told of it", LOST_ANSWER_DELAY)
    return receipt


@once
def take_money(db: sqlite3.Connection, context: Context, account: str, cents: int) -> Receipt:
    return Receipt(account, take(db, ACCOUNTS, account, Holder.of(context), cents), cents)


@charge.undo
@once
def refund(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, ACCOUNTS, Holder.of(context))


@action("trip.book_hotel")
async def book_hotel(context: Context, hotel: str, trouble: Trouble) -> Room:
    if trouble is Trouble.SLOW:
        await asyncio.sleep(SLOW_HOTEL_S)
    return await asyncio.to_thread(take_room, context, hotel)


@once
def take_room(db: sqlite3.Connection, context: Context, hotel: str) -> Room:
    return Room(hotel, take(db, HOTELS, hotel, Holder.of(context)))


@book_hotel.undo
@once
def release_room(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, HOTELS, Holder.of(context))


@action("trip.book_flight")
@once
def book_flight(db: sqlite3.Connection, context: Context, flight: str) -> Seat:
    return Seat(flight, take(db, FLIGHTS, flight, Holder.of(context)))


@book_flight.undo
@once
def release_seat(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, FLIGHTS, Holder.of(context))


@action("trip.rent_car")
@once
def rent_car(db: sqlite3.Connection, context: Context, station: str) -> Car:
    return Car(station, take(db, STATIONS, station, Holder.of(context)))


@rent_car.undo
@once
def return_car(db: sqlite3.Connection, context: Context) -> None:
    give_back(db, STATIONS, Holder.of(context))


@action("trip.confirm")
@once
def confirm(
    db: sqlite3.Connection,
    context: Context,
    traveller: str,
    receipt: Receipt,
    room: Room,
    seat: Seat,
    car: Car,
    trouble: Trouble,
) -> Itinerary:
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


@confirm.undo
@once
def withdraw(db: sqlite3.Connection, context: Context) -> None:
    db.execute("DELETE FROM itineraries WHERE saga = ?", (context.saga_id,))


ACTIONS = (charge, book_hotel, book_flight, rent_car, confirm)
