"""A small world with good actions and with planted faults, for tests of the testing kit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from sagaline import Action, Context, Failed, Graph, GraphBuilder, UndoPolicy, action


class World(msgspec.Struct):
    """What actions change."""

    charges: dict[str, int] = {}
    rooms: dict[str, str] = {}
    letters: list[str] = []
    closed: set[str] = set()
    """Keys whose undo has come. No part of what is compared."""

    def rows(self) -> dict[str, object]:
        return {"charges": self.charges, "rooms": self.rooms, "letters": self.letters}


world = World()


def renew() -> World:
    """Empty the world."""
    world.charges, world.rooms, world.letters, world.closed = {}, {}, [], set()
    return world


def place_of(context: Context) -> str:
    return f"{context.saga_id}/{context.node}"


def check_open(context: Context) -> None:
    if place_of(context) in world.closed:
        raise Failed("Undone", "its undo was here before")


def pop(table: dict[str, Any], context: Context) -> None:
    world.closed.add(place_of(context))
    table.pop(place_of(context), None)


@action
async def charge(context: Context, card: str) -> int:
    check_open(context)
    world.charges[place_of(context)] = 100
    return 100


@charge.undo
async def refund(context: Context) -> None:
    pop(world.charges, context)


@action
def book(context: Context, cents: int) -> str:
    """Synchronous, in a thread."""
    check_open(context)
    world.rooms[place_of(context)] = "room 7"
    return "room 7"


@book.undo
def cancel(context: Context) -> None:
    pop(world.rooms, context)


@action
async def look(room: str) -> str:
    return room.upper()


# ---- planted faults


@action("book")
async def book_twice(context: Context, cents: int) -> str:
    """Not idempotent: each call books one more room."""
    world.rooms[f"{place_of(context)}#{len(world.rooms)}"] = "room 7"
    return "room 7"


@book_twice.undo
async def cancel_all(context: Context) -> None:
    for key in [key for key in world.rooms if key.startswith(place_of(context))]:
        del world.rooms[key]


@action("book")
async def book_any(context: Context, cents: int) -> str:
    """Answers otherwise each time."""
    world.letters = [*world.letters]
    return f"room {next(NUMBERS)}"


@book_any.undo
async def cancel_any(context: Context) -> None: ...


@action("book")
async def book_with_letter(context: Context, cents: int) -> str:
    check_open(context)
    world.rooms[place_of(context)] = "room 7"
    return "room 7"


@book_with_letter.undo
async def cancel_with_letters(context: Context) -> None:
    """The undo is not idempotent: a letter each time; and it is no undo, for the letter stays."""
    pop(world.rooms, context)
    world.letters.append("cancelled")


@action("book")
async def book_with_complaint(context: Context, cents: int) -> str:
    check_open(context)
    world.rooms[place_of(context)] = "room 7"
    return "room 7"


@book_with_complaint.undo
async def cancel_with_complaint(context: Context) -> None:
    """Right once, but not twice."""
    if place_of(context) in world.closed:
        world.letters.append("there is nothing to cancel")
    pop(world.rooms, context)


@action("book")
async def book_for_good(context: Context, cents: int) -> str:
    check_open(context)
    world.rooms[place_of(context)] = "room 7"
    return "room 7"


@book_for_good.undo
async def cancel_nothing(context: Context) -> None:
    """A wrong undo."""


@action("book")
async def book_late(context: Context, cents: int) -> str:
    """Idempotent, and undone; but an undo that came first does not win."""
    world.rooms[place_of(context)] = "room 7"
    return "room 7"


@book_late.undo
async def cancel_late(context: Context) -> None:
    world.rooms.pop(place_of(context), None)


@action("book")
async def book_by_output(context: Context, cents: int) -> str:
    world.rooms["room 7"] = place_of(context)
    return "room 7"


@book_by_output.undo
async def cancel_by_output(*, output: str | None) -> None:
    """Can't cope without the output."""
    if output is None:
        raise Failed("NoOutput", "which room?")
    world.rooms.pop(output, None)


def _count() -> Iterator[int]:
    number = 0
    while True:
        yield (number := number + 1)


NUMBERS = _count()


def trip(book_action: Action[tuple[int], str] = book) -> Graph[str, str]:
    """Charge, book, look."""
    g = GraphBuilder("trip", params=str)
    cents = g.add("pay", charge, g.params)
    room = g.add("hotel", book_action, cents)
    return g.build(result=g.add("look", look, room, undo=UndoPolicy.noop()))


def actions(book_action: Action[tuple[int], str] = book) -> Sequence[Action[Any, Any]]:
    return [charge, book_action, look]
