"""`SagaStore.adopt`: sagas of a dead incarnation get exactly one new owner."""

from __future__ import annotations

import asyncio

import pytest

from sagaline_server.ports.store import Status
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import append, batches, create, create_many, finish, owned, write, write_all


async def test_a_restarted_sec_adopts_what_it_owned(cluster: Cluster) -> None:
    before = await cluster.open("sec-a")
    old_claim = await create(before, "s-1")
    await write_all(before, [append(old_claim, 2)])
    await cluster.crash(before)
    store = await cluster.open("sec-a")

    (saga,) = await store.list_owned()
    assert (saga.sec_id, saga.incarnation, saga.epoch) == ("sec-a", before.incarnation, 1)
    (claim,) = await store.adopt([saga])

    assert claim is not None
    assert (claim.saga_id, claim.epoch) == ("s-1", 2)
    assert claim.revision > old_claim.revision
    owner = await owned(store, "s-1")
    assert (owner.incarnation, owner.epoch, owner.revision) == (store.incarnation, 2, claim.revision)
    assert (await write(store, append(old_claim, 3))).status is Status.FENCED
    await write_all(store, [append(claim, 3)])
    assert len(await batches(store, "s-1")) == 3


async def test_sagas_of_a_store_that_was_closed_can_be_adopted(cluster: Cluster) -> None:
    before = await cluster.open("sec-a")
    await create(before, "s-1")
    await before.close()
    store = await cluster.open("sec-b")

    (claim,) = await store.adopt(await store.list_owned())

    assert claim is not None


async def test_epochs_count_the_owners(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-1")
    for epoch in (2, 3, 4):
        await store.close()
        store = await cluster.open()
        (claim,) = await store.adopt(await store.list_owned())
        assert claim is not None
        assert claim.epoch == epoch
        await write_all(store, [append(claim, epoch)])


async def test_what_is_ones_own_cannot_be_adopted(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")

    assert list(await store.adopt(await store.list_owned())) == [None]

    await write_all(store, [append(claim, 2)])


async def test_sagas_of_a_live_sec_cannot_be_adopted(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    claim = await create(first, "s-1")

    assert list(await second.adopt(await second.list_owned())) == [None]

    await write_all(first, [append(claim, 2)])


async def test_an_owner_that_changed_since_it_was_read_is_left_alone(shared: Cluster) -> None:
    first = await shared.open("sec-a")
    await create(first, "s-1")
    await shared.crash(first)
    second, third = await shared.open("sec-b"), await shared.open("sec-c")
    as_read = await third.list_owned()
    (claim,) = await second.adopt(as_read)
    assert claim is not None

    assert list(await third.adopt(as_read)) == [None]

    await shared.crash(second)
    assert list(await third.adopt(as_read)) == [None]
    (claim,) = await third.adopt(await third.list_owned())
    assert claim is not None
    assert claim.epoch == 3


async def test_a_saga_that_finished_since_it_was_read_is_left_alone(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    as_read = await store.list_owned()
    await write_all(store, [finish(claim, 2)])
    await store.close()
    store = await cluster.open()

    assert list(await store.adopt(as_read)) == [None]
    stored = await store.read("s-1")
    assert stored is not None
    assert stored.owner is None


async def test_a_dead_sec_adopts_nothing(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    await create(first, "s-1")
    await shared.crash(first)
    await shared.crash(second)

    assert list(await second.adopt(await second.list_owned())) == [None]


async def test_of_two_secs_that_adopt_at_once_each_saga_gets_one(shared: Cluster) -> None:
    first = await shared.open("sec-a")
    await create_many(first, [f"s-{number:03}" for number in range(100)])
    await shared.crash(first)
    second, third = await shared.open("sec-b"), await shared.open("sec-c")
    orphans = list(await second.list_owned())

    ours, theirs = await asyncio.gather(
        asyncio.gather(*(second.adopt(orphans[start : start + 10]) for start in range(0, 100, 10))),
        asyncio.gather(*(third.adopt(orphans[start : start + 10]) for start in range(90, -1, -10))),
    )

    claimed = [claim for claims in (*ours, *theirs) for claim in claims if claim is not None]
    assert sorted(claim.saga_id for claim in claimed) == [saga.saga_id for saga in orphans]
    by_id = {saga.saga_id: saga for saga in await second.list_owned()}
    assert all(by_id[claim.saga_id].revision == claim.revision for claim in claimed)
    assert {saga.epoch for saga in by_id.values()} == {2}


async def test_more_can_be_adopted_than_one_transaction_holds_and_some_of_it_refused(shared: Cluster) -> None:
    dead, alive = await shared.open("sec-a"), await shared.open("sec-b")
    of_dead = await create_many(dead, [f"s-{number:03}" for number in range(0, 200, 2)])
    of_alive = await create_many(alive, [f"s-{number:03}" for number in range(1, 200, 2)])
    await write_all(dead, [finish(of_dead[0], 2)])
    await shared.crash(dead)
    store = await shared.open("sec-c")

    owners = await store.list_owned()
    assert len(owners) == 199
    claims = await store.adopt(owners)

    adopted = {claim.saga_id for claim in claims if claim is not None}
    assert adopted == {claim.saga_id for claim in of_dead[1:]}
    await write_all(alive, [append(claim, 2) for claim in of_alive])
    await write_all(store, [append(claim, 2) for claim in claims if claim is not None])


async def test_sagas_of_many_dead_secs_are_adopted_together(shared: Cluster) -> None:
    for number in range(5):
        store = await shared.open(f"sec-{number}")
        await create_many(store, [f"s-{number}-{saga}" for saga in range(3)])
        await shared.crash(store)
    store = await shared.open("sec-z")

    claims = await store.adopt(await store.list_owned())

    assert all(claims)
    assert len(claims) == 15


async def test_a_saga_cannot_be_adopted_twice_in_one_call(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-1")
    saga = await owned(store, "s-1")
    with pytest.raises(ValueError, match="twice"):
        await store.adopt([saga, saga])
