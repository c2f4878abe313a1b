"""Shares of limits: what of a limit on the whole cluster each live SEC may use by itself, without asking the others.

SECs are ranked by name. The shares of a limit add up to it, and those of a
higher rank are never greater, so a SEC with the first rank has a share of
every limit that is not zero.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

BURST_SECONDS = 0.1
"""What a rate allows in so much time may start at once."""


class ActionLimit(msgspec.Struct, frozen=True):
    """What bounds the invocations of an action; None: nothing does."""

    max_in_flight: int | None = None
    starts_per_second: float | None = None


class ScopeLimit(msgspec.Struct, frozen=True):
    """What bounds the sagas of a scope; None: nothing does."""

    max_running: int | None = None
    max_failing: int | None = None


def rank_of(me: str, names: Iterable[str]) -> tuple[int, int]:
    """Return the rank of a SEC among the live ones, and their number. Itself it counts as live."""
    ranked = sorted({me, *names})
    return ranked.index(me), len(ranked)


def share(limit: int, rank: int, count: int) -> int:
    """Return the share of a limit: equal parts, and one more for the first ranks while something is left."""
    return limit // count + (rank < limit % count)


def action_share(limit: ActionLimit, rank: int, count: int) -> ActionLimit:
    """Return the share of a limit on an action. Every SEC has an equal part of a rate, however small."""
    rate = limit.starts_per_second
    return ActionLimit(
        None if limit.max_in_flight is None else share(limit.max_in_flight, rank, count),
        None if rate is None else rate / count,
    )


def scope_share(limit: ScopeLimit, rank: int, count: int) -> ScopeLimit:
    """Return the share of a limit on a scope.

    Every SEC counts what fails at itself, so one that fails there is the least that can hold new ones.
    """
    failing = limit.max_failing
    return ScopeLimit(
        None if limit.max_running is None else share(limit.max_running, rank, count),
        None if failing is None else max(share(failing, rank, count), 1),
    )


class Bucket:
    """Starts that a rate allows: they come in at the rate, and few are kept."""

    __slots__ = ("_left", "_rate", "_room", "_time")

    def __init__(self, rate: float, now: float) -> None:
        """Begin with one start allowed.

        Args:
            rate: Starts in a second.
            now: Seconds.
        """
        self._rate = rate
        self._room = max(1.0, rate * BURST_SECONDS)
        self._left = 1.0
        self._time = now

    def due(self, now: float) -> float:
        """Return in how many seconds a start is allowed; 0: now."""
        self._left = min(self._room, self._left + max(now - self._time, 0.0) * self._rate)
        self._time = now
        if self._left >= 1.0 - 1e-9:
            return 0.0
        return (1.0 - self._left) / self._rate if self._rate > 0 else float("inf")

    def take(self, now: float) -> None:
        """Use a start."""
        self.due(now)
        self._left -= 1.0

    def change(self, rate: float, now: float) -> None:
        """Go on at another rate, with what was used counted."""
        self.due(now)
        self._rate, self._room = rate, max(1.0, rate * BURST_SECONDS)
        self._left = min(self._left, self._room)
