"""Limits: set, lifted, listed, told to every watch, and there after the store was closed."""

from __future__ import annotations

import pytest

from sagaline_server.ports.cluster import ClusterStore, LimitsChanged, StoredLimit
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import create, insist
from tests.contracts.watching import watching

SELDOM = 600.0


async def limits(store: ClusterStore) -> list[StoredLimit]:
    return list(await store.list_limits())


async def test_limits_are_listed_in_the_order_of_their_subjects(cluster: Cluster) -> None:
    store = await cluster.open()
    assert await limits(store) == []
    given = [StoredLimit(f"scope:{name}", name.encode()) for name in ("rack/17", "rack", "ä", "action:x")]
    for limit in given:
        await store.put_limit(limit.subject, limit.limit)
    await store.put_limit("action:book", b"\x00\xff")
    expected = sorted([*given, StoredLimit("action:book", b"\x00\xff")], key=lambda limit: limit.subject.encode())
    assert await limits(store) == expected


async def test_the_last_limit_of_a_subject_counts_and_an_empty_one_lifts_it(cluster: Cluster) -> None:
    store = await cluster.open()
    await store.put_limit("scope:rack/17", b"first")
    for _ in range(2):
        await store.put_limit("scope:rack/17", b"second")
    assert await limits(store) == [StoredLimit("scope:rack/17", b"second")]
    for _ in range(2):
        await store.put_limit("scope:rack/17", b"")
    assert await limits(store) == []
    with pytest.raises(ValueError, match="something"):
        await store.put_limit("", b"x")


async def test_limits_outlive_the_incarnation(cluster: Cluster) -> None:
    store = await cluster.open()
    await store.put_limit("action:book", b"x")
    await create(store, "s-1")
    await store.close()
    assert await limits(await cluster.open()) == [StoredLimit("action:book", b"x")]


async def test_a_change_is_told(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    async with watching(store) as watch:
        await store.put_limit("action:book", b"x")
        assert await watch.next() == LimitsChanged()
        await store.put_limit("action:book", b"")
        assert await watch.next() == LimitsChanged()


async def test_another_sec_hears_of_it(shared: Cluster) -> None:
    first = await shared.open("sec-a", relist_seconds=SELDOM)
    second = await shared.open("sec-b", relist_seconds=SELDOM)
    async with watching(second) as watch:
        await insist(lambda: first.put_limit("action:book", b"x"))
        await watch.until_event(LimitsChanged())
        assert await limits(second) == [StoredLimit("action:book", b"x")]
