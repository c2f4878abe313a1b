"""Which shard has a saga: a part of what is stored, so it never changes."""

from __future__ import annotations

from collections import Counter

import pytest

from sagaline_server.core.sharding import HASH, shard_of

WRITTEN_DOWN = [
    ("s-1", 2, 0),
    ("s-2", 2, 1),
    ("order-2026-000017", 3, 0),
    ("0190163d-8694-739b-aea5-966c26f8ad91", 5, 0),
    ("ä/ö", 7, 6),
]


@pytest.mark.parametrize(("saga_id", "shards", "shard"), WRITTEN_DOWN)
def test_a_saga_stays_where_it_was_in_every_release(saga_id: str, shards: int, shard: int) -> None:
    assert HASH == "sha256"
    assert shard_of(saga_id, shards) == shard


@pytest.mark.parametrize("shards", [2, 3, 8])
@pytest.mark.parametrize("pattern", ["order-{:06}", "{}", "eu1-rack/{}/day"])
def test_ids_that_people_count_up_are_spread_evenly(shards: int, pattern: str) -> None:
    counts = Counter(shard_of(pattern.format(number), shards) for number in range(4000))
    assert set(counts) == set(range(shards))
    assert max(counts.values()) < 1.2 * 4000 / shards
