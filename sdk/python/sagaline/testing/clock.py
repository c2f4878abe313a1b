"""Time and chance of a SEC in a test: both are the same in every run."""

from __future__ import annotations

import random

from sagaline.testing.loop import VirtualLoop

WALL_START = 1_750_000_000.0
"""Seconds since 1970 at which a test begins."""


class VirtualClock:
    """The clock of a loop on virtual time, as the SEC reads it."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def wall(self) -> float:
        """Return seconds since 1970."""
        return WALL_START + self._loop.time()

    def boottime(self) -> float:
        """Return seconds that never jump."""
        return self._loop.time()


class Chance:
    """Randomness that a seed decides."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def draw(self) -> float:
        """Return a number in [0, 1)."""
        return self._random.random()

    def entropy(self, count: int) -> bytes:
        """Return some bytes."""
        return self._random.randbytes(count)

    def writer_id(self) -> bytes:
        """Return 16 bytes that do not come again."""
        return self._random.randbytes(16)
