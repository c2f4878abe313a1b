"""What goes into the saga and between its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What is to go wrong, so that one can look at it."""

    NONE = "none"
    PAYMENT_FLAKY = "payment_flaky"
    """The bank books the payment, and its answer gets lost."""
    CONFIRM_FAILS = "confirm_fails"
    """The last node fails, and everything before it is undone."""
    SLOW = "slow"
    """The hotel takes its time."""


@dataclass(frozen=True, slots=True)
class TripRequest:
    """Parameters of the saga."""

    traveller: str
    account: str
    hotel: str
    flight: str
    station: str
    price_cents: int = 50_000
    trouble: Trouble = Trouble.NONE


@dataclass(frozen=True, slots=True)
class Receipt:
    account: str
    number: int
    cents: int


@dataclass(frozen=True, slots=True)
class Room:
    hotel: str
    number: int


@dataclass(frozen=True, slots=True)
class Seat:
    flight: str
    number: int


@dataclass(frozen=True, slots=True)
class Car:
    station: str
    number: int


@dataclass(frozen=True, slots=True)
class Itinerary:
    """Result of the saga."""

    traveller: str
    summary: str
