"""Ids for sagas whose client gave none."""

from __future__ import annotations

import uuid
from collections.abc import Callable

RandomBytes = Callable[[int], bytes]
"""Returns that many unpredictable bytes; `os.urandom` outside of tests."""

_TIME_BITS = 48
_RANDOM_BYTES = 10


def uuid7(now: float, random: RandomBytes) -> str:
    """Return a UUID of version 7: ids sort as the sagas were created.

    Args:
        now: Seconds since 1970; the id keeps its milliseconds.
        random: Source of the other 74 bits.
    """
    time = int(now * 1000) & ((1 << _TIME_BITS) - 1)
    drawn = int.from_bytes(random(_RANDOM_BYTES), "big")
    high, low = drawn >> 68, drawn & ((1 << 62) - 1)
    return str(uuid.UUID(int=time << 80 | 0x7 << 76 | high << 64 | 0b10 << 62 | low))
