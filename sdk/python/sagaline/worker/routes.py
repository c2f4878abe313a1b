"""Which way a result takes: to its saga's owner on a stream, to the owner's address by a call, or to any SEC to ask.

A SEC that is not the owner answers with the owner's name, so whoever can be reached is a way to find out.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from sagaline.worker import limits

CALL = "call "
"""What the lane of a call begins with. No SEC has such a name: there is a space in it."""


@dataclass(slots=True)
class _Call:
    """Calls to one address."""

    under_way: bool = False
    failures: int = 0
    not_before: float = 0.0


class Routes:
    """What is open, what has an address, and what has failed of late.

    A *lane* is where a result is queued: the name of a SEC, for its stream, or `CALL` and an address.
    """

    def __init__(self) -> None:
        self._open: dict[str, None] = {}
        self._addresses: dict[str, str] = {}
        self._calls: dict[str, _Call] = {}
        self._turn = 0
        self.linked: Container[str] = ()
        """Addresses to which streams are held or tried: where they can't be had, a call would fail as well."""

    def opened(self, sec: str) -> None:
        """A SEC has a stream."""
        self._open[sec] = None

    def closed(self, sec: str) -> None:
        """A SEC has none any more."""
        self._open.pop(sec, None)

    def is_open(self, sec: str) -> bool:
        """Whether a SEC has a stream."""
        return sec in self._open

    def learn(self, sec: str, address: str) -> None:
        """Note where a SEC can be dialled."""
        if sec and address and self._addresses.get(sec) != address:
            self._addresses[sec] = address
            if len(self._addresses) > limits.ADDRESSES_MAX:
                del self._addresses[next(iter(self._addresses))]

    def lane_to(self, owner: str, now: float) -> str | None:
        """The lane for a result of this owner ("" if it is not known); None while there is no way at all."""
        if owner in self._open:
            return owner
        address = self._addresses.get(owner)
        if address is not None and address not in self.linked and self._may_call(address, now):
            return CALL + address
        if not self._open:
            return None
        self._turn = (self._turn + 1) % len(self._open)
        return list(self._open)[self._turn]

    # ---- calls

    def _may_call(self, address: str, now: float) -> bool:
        call = self._calls.get(address)
        return call is None or now >= call.not_before

    def begin_call(self, address: str) -> bool:
        """Whether a call may be made now: one at a time to each address, and few at all. It then counts as made."""
        call = self._calls.get(address)
        if call is None:
            call = self._calls[address] = _Call()
        if call.under_way or sum(other.under_way for other in self._calls.values()) >= limits.CALLS_MAX:
            return False
        call.under_way = True
        return True

    def end_call(self, address: str, *, answered: bool, now: float) -> None:
        """A call has ended. After one without an answer the next waits, longer each time."""
        if answered:
            self._calls.pop(address, None)
        else:
            call = self._calls[address]
            call.under_way = False
            call.failures += 1
            call.not_before = now + limits.search_seconds(call.failures)
