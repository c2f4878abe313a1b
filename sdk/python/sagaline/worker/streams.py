"""What is counted over all streams of this worker, whichever SEC they lead to, and which of them leads to which SEC.

Streams are told apart by the address that was dialled: one at a time for each. Which SEC answers there is known only
from its welcome. Numbers of streams and of heartbeats grow over all of them, so that they grow for each SEC, also
where it is reached at another address than before.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class _Stream:
    """One stream that has not ended."""

    epoch: int
    sec: str | None = None
    """The SEC that welcomed us on it."""


class Streams:
    """The streams that are open or being opened, by address."""

    def __init__(self) -> None:
        self._open: dict[str, _Stream] = {}
        self._epoch = 0
        self._nonce = 0

    def opened(self, address: str) -> int:
        """A stream begins; returns its number."""
        self._epoch += 1
        self._open[address] = _Stream(self._epoch)
        return self._epoch

    def welcomed(self, address: str, sec: str) -> None:
        """It is this SEC's."""
        self._open[address].sec = sec

    def ended(self, address: str) -> str | None:
        """A stream is over; returns the SEC that has none any more because of that."""
        stream = self._open.pop(address, None)
        if stream is None or stream.sec is None or any(other.sec == stream.sec for other in self._open.values()):
            return None
        return stream.sec

    def next_nonce(self) -> int:
        """The number of the next heartbeat."""
        self._nonce += 1
        return self._nonce

    @property
    def nonce(self) -> int:
        """The number of the last heartbeat."""
        return self._nonce

    def replaced_by_us(self, address: str) -> bool:
        """Whether a younger stream of this worker may have replaced it: of the same SEC, or not welcomed yet."""
        mine = self._open[address]
        return any(other.epoch > mine.epoch and other.sec in (None, mine.sec) for other in self._open.values())
