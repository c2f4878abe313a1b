"""What Python serves of the polyglot trip: any of the bookings, for they are alike, each behind the barrier."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from sagaline import Action, Context, Failed, action
from sagaline.barrier import PsycopgBarrier

Connection = psycopg.Connection[Any]

SLOW_SECONDS = 0.3
TABLES = """
CREATE TABLE IF NOT EXISTS bookings (saga text PRIMARY KEY, item text NOT NULL);
CREATE TABLE IF NOT EXISTS effects (number bigserial PRIMARY KEY, saga text NOT NULL, what text NOT NULL);
"""


def connect() -> Connection:
    """As PGHOST, PGPORT, PGUSER and PGDATABASE say."""
    return psycopg.connect("")


barrier = PsycopgBarrier(connect)


def prepare() -> None:
    with connect() as db:
        barrier.create_table(db)
        db.execute(TABLES)


@barrier.once
def book(db: Connection, context: Context, item: str) -> str:
    db.execute("INSERT INTO bookings (saga, item) VALUES (%s, %s)", (context.saga_id, item))
    db.execute("INSERT INTO effects (saga, what) VALUES (%s, 'booked')", (context.saga_id,))
    return f"{item}@{context.node}"


@barrier.once
def release(db: Connection, context: Context) -> None:
    if db.execute("DELETE FROM bookings WHERE saga = %s", (context.saga_id,)).rowcount:
        db.execute("INSERT INTO effects (saga, what) VALUES (%s, 'released')", (context.saga_id,))


def booking(node: str) -> Action[tuple[str, str], str]:
    """The action of a node. In graphs it stands for the same action in another language, too."""

    @action(f"polyglot.{node}")
    def reserve(context: Context, item: str, trouble: str) -> str:
        if trouble == context.node:
            raise Failed("SoldOut", "there is none left")
        if trouble == "slow":
            time.sleep(SLOW_SECONDS)
        return book(context, item)

    @reserve.undo
    def give_back(context: Context) -> None:
        release(context)

    return reserve


@action("polyglot.confirm")
def confirm(booked: str, trouble: str) -> str:
    """The last node: when it fails, all four languages undo what they did."""
    if trouble == "confirm":
        raise Failed("PassportExpired", "the traveller can't travel")
    return booked
