"""Makes ids that need nobody's leave: of sagas, so that a creation can be repeated when its answer was lost, and of
workers.
"""

from __future__ import annotations

import secrets
import time
import uuid


def new_uuid7() -> str:
    """Return a new UUIDv7: ids sort by the time of their making, and no two processes make the same one."""
    unix_ms = time.time_ns() // 1_000_000
    return str(uuid7(unix_ms, secrets.randbits(74)))


def uuid7(unix_ms: int, random_bits: int) -> uuid.UUID:
    """Return the UUIDv7 (RFC 9562) of a time in milliseconds and 74 random bits."""
    version, variant = 0x7, 0b10
    high = (unix_ms & (1 << 48) - 1) << 16 | version << 12 | random_bits >> 62
    low = variant << 62 | random_bits & (1 << 62) - 1
    return uuid.UUID(int=high << 64 | low)
