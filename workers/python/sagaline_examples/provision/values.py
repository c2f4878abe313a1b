"""What goes into the saga and between its nodes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Trouble(StrEnum):
    """What is to go wrong, so that one can look at it."""

    NONE = "none"
    VOLUME_FLAKY = "volume_flaky"
    """The array does not answer at first, then answers in a way that gets lost, then answers."""
    BOOT_FAILS = "boot_fails"
    """The last node fails, and everything before it is undone."""
    UNDO_FAILS = "undo_fails"
    """As BOOT_FAILS, and somebody has locked the volume meanwhile: it cannot be deleted before it is unlocked."""
    SLOW = "slow"
    """Booting takes its time."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a server must have."""

    zone: str = "a"
    cores: int = 2


@dataclass(frozen=True, slots=True)
class VmRequest:
    """Parameters of the saga."""

    name: str
    need: Need = Need()
    volume_gb: int = 20
    trouble: Trouble = Trouble.NONE


@dataclass(frozen=True, slots=True)
class Instance:
    """The record of a machine that is being made."""

    name: str


@dataclass(frozen=True, slots=True)
class Address:
    ip: str


@dataclass(frozen=True, slots=True)
class Volume:
    array: str
    number: int
    size_gb: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A server that had room when somebody looked: it may be full when its turn comes."""

    server: str


@dataclass(frozen=True, slots=True)
class Reservation:
    server: str
    cores: int


@dataclass(frozen=True, slots=True)
class FleetRequest:
    """Parameters of the saga that makes a fleet."""

    name: str
    machines: int
    cores: int = 2


@dataclass(frozen=True, slots=True)
class FleetPlan:
    """What a fleet needs."""

    needs: list[Need]
    """One for each machine."""
    spare: Need


@dataclass(frozen=True, slots=True)
class Machine:
    """One of a fleet."""

    name: str
    server: str


@dataclass(frozen=True, slots=True)
class Configuration:
    ip: str
    server: str


@dataclass(frozen=True, slots=True)
class Attachment:
    device: str


@dataclass(frozen=True, slots=True)
class Vm:
    """Result of the saga."""

    name: str
    ip: str
    server: str
