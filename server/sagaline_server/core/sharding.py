"""Which shard keeps a saga, where a store has several.

A part of the format of what is stored: whoever computed it otherwise would not
find what is there. So it never changes, and depends on nothing but the id and
the number of shards.
"""

from __future__ import annotations

import hashlib

HASH = "sha256"
"""Name of the rule, as it is stored beside the sagas."""


def shard_of(saga_id: str, shards: int) -> int:
    """Return the shard of a saga, from 0: the first eight bytes of its id's SHA-256, big-endian, modulo `shards`."""
    return int.from_bytes(hashlib.sha256(saga_id.encode()).digest()[:8]) % shards
