"""The operating system's clock and randomness behind the ports."""

from __future__ import annotations

import os
import random
import time


class SystemClock:
    """`Clock` of this machine."""

    def wall(self) -> float:
        """Return seconds since 1970."""
        return time.time()

    def boottime(self) -> float:
        """Return seconds on a clock that goes on in suspend."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)


class SystemRandom:
    """Randomness for jitter, the choice of workers, and ids."""

    def __init__(self) -> None:
        """Seed from the operating system."""
        self._random = random.Random()
        self._writer = os.urandom(10)
        self._writes = 0

    def draw(self) -> float:
        """Return a random number in [0, 1)."""
        return self._random.random()

    def entropy(self, count: int) -> bytes:
        """Return bytes that nobody can guess."""
        return os.urandom(count)

    def writer_id(self) -> bytes:
        """Return a new writer id: 16 bytes, of which the first ten are this process's own."""
        self._writes += 1
        return self._writer + self._writes.to_bytes(6, "big")
