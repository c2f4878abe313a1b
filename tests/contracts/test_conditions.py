"""Limits and breakpoints on actions: set, lifted, listed, told to every watch, and there after the store was closed."""

from __future__ import annotations

import pytest

from sagaline_server.ports.cluster import ClusterStore, ConditionsChanged, StoredCondition
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import create, insist
from tests.contracts.watching import watching

SELDOM = 600.0


async def conditions(store: ClusterStore) -> list[StoredCondition]:
    return list(await store.list_conditions())


async def test_conditions_are_listed_in_the_order_of_their_subjects(cluster: Cluster) -> None:
    store = await cluster.open()
    assert await conditions(store) == []
    given = [StoredCondition(f"scope:{name}", name.encode()) for name in ("rack/17", "rack", "ä", "action:x")]
    given.append(StoredCondition("break:book", b"held"))
    for one in given:
        await store.put_condition(one.subject, one.value)
    await store.put_condition("action:book", b"\x00\xff")
    expected = sorted([*given, StoredCondition("action:book", b"\x00\xff")], key=lambda one: one.subject.encode())
    assert await conditions(store) == expected


async def test_the_last_condition_of_a_subject_counts_and_an_empty_one_lifts_it(cluster: Cluster) -> None:
    store = await cluster.open()
    await store.put_condition("scope:rack/17", b"first")
    for _ in range(2):
        await store.put_condition("scope:rack/17", b"second")
    assert await conditions(store) == [StoredCondition("scope:rack/17", b"second")]
    for _ in range(2):
        await store.put_condition("scope:rack/17", b"")
    assert await conditions(store) == []
    with pytest.raises(ValueError, match="something"):
        await store.put_condition("", b"x")


async def test_conditions_outlive_the_incarnation(cluster: Cluster) -> None:
    store = await cluster.open()
    await store.put_condition("action:book", b"x")
    await create(store, "s-1")
    await store.close()
    assert await conditions(await cluster.open()) == [StoredCondition("action:book", b"x")]


async def test_a_change_is_told(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    async with watching(store) as watch:
        await store.put_condition("action:book", b"x")
        assert await watch.next() == ConditionsChanged()
        await store.put_condition("action:book", b"")
        assert await watch.next() == ConditionsChanged()


async def test_another_sec_hears_of_it(shared: Cluster) -> None:
    first = await shared.open("sec-a", relist_seconds=SELDOM)
    second = await shared.open("sec-b", relist_seconds=SELDOM)
    async with watching(second) as watch:
        await insist(lambda: first.put_condition("action:book", b"x"))
        await watch.until_event(ConditionsChanged())
        assert await conditions(second) == [StoredCondition("action:book", b"x")]
