"""What goes into the saga and between its nodes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetireRequest:
    """Parameters of the saga."""

    server: str


@dataclass(frozen=True, slots=True)
class Closed:
    """A server on which nobody is placed any more."""

    server: str
    cores: int


@dataclass(frozen=True, slots=True)
class Approval:
    """Payload of the signal `approved`."""

    granted: bool
    by: str


@dataclass(frozen=True, slots=True)
class Retired:
    """Result of the saga."""

    server: str
    cores: int
    approved_by: str
