"""Incarnations: a process is one, a newer one of its name replaces it, and a dead one writes nothing."""

from __future__ import annotations

import pytest

from sagaline_server.ports.store import ListQuery, Status, StoreError
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import append, batches, create, create_many, finish, new_saga, write, write_all


async def test_an_open_store_is_listed_as_a_live_sec(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")

    (sec,) = await store.list_secs()

    assert (sec.sec_id, sec.incarnation) == ("sec-a", store.incarnation)
    assert (sec.address, sec.version) == ("host:7433", "1")


async def test_secs_that_share_a_store_see_each_other(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")

    secs = await first.list_secs()

    assert {(sec.sec_id, sec.incarnation) for sec in secs} == {
        ("sec-a", first.incarnation),
        ("sec-b", second.incarnation),
    }
    await second.close()
    assert [sec.sec_id for sec in await first.list_secs()] == ["sec-a"]


async def test_incarnations_grow(cluster: Cluster) -> None:
    incarnations = []
    for name in ("sec-a", "sec-b", "sec-a"):
        store = await cluster.open(name)
        incarnations.append(store.incarnation)
        await store.close()

    assert incarnations == sorted(set(incarnations))


async def test_what_was_stored_is_there_after_a_restart(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-1")
    await store.close()

    store = await cluster.open()

    assert len(await batches(store, "s-1")) == 1
    assert [saga.saga_id for saga in await store.list_owned()] == ["s-1"]


async def test_every_write_of_a_replaced_incarnation_is_fenced(shared: Cluster) -> None:
    old = await shared.open("sec-a")
    claim, other, _ = await create_many(old, ["s-1", "s-2", "s-0"])

    await shared.open("sec-a")
    results = await old.commit([append(claim, 2), finish(other, 2), new_saga("s-3"), new_saga("s-0")])

    assert [result.status for result in results] == [Status.FENCED] * 4
    assert len(await batches(old, "s-1")) == 1
    assert await old.read("s-3") is None


async def test_every_write_of_a_dead_incarnation_is_fenced_though_nobody_took_its_sagas(shared: Cluster) -> None:
    store = await shared.open("sec-a")
    claim = await create(store, "s-1")
    await shared.crash(store)

    results = await store.commit([append(claim, 2), new_saga("s-2")])

    assert [result.status for result in results] == [Status.FENCED] * 2


async def test_a_live_store_serves_and_a_closed_one_does_not(cluster: Cluster) -> None:
    store = await cluster.open()
    until = store.serving_until
    assert until is None or until > 0
    await store.close()
    assert store.serving_until == 0.0


async def test_close_is_idempotent_and_what_is_read_afterwards_is_an_error(cluster: Cluster) -> None:
    store = await cluster.open()
    await store.close()
    await store.close()

    with pytest.raises(StoreError):
        await store.read("s-1")
    with pytest.raises(StoreError):
        await store.list_heads(ListQuery())
    with pytest.raises(StoreError):
        await store.list_owned()
    with pytest.raises(StoreError):
        await store.list_secs()
    with pytest.raises(StoreError):
        await store.adopt([])
    with pytest.raises(StoreError):
        await store.remove_finished([], keep_summary=True)


async def test_a_store_that_is_opened_again_is_a_new_incarnation(cluster: Cluster) -> None:
    """So a SEC that lost its incarnation goes on without a restart."""
    store = await cluster.open("sec-a")
    before, claim = store.incarnation, await create(store, "s-1")

    incarnation = await store.open(sec_id="sec-a", address="elsewhere:7433", version="1")

    assert incarnation == store.incarnation > before
    assert [(sec.incarnation, sec.address) for sec in await store.list_secs()] == [(incarnation, "elsewhere:7433")]
    (adopted,) = await store.adopt(await store.list_owned())
    assert adopted is not None
    assert adopted.epoch == 2
    results = [await write(store, append(claim, 2)), await write(store, append(adopted, 2))]
    assert [result.status for result in results] == [Status.FENCED, Status.DONE]
    until = store.serving_until
    assert until is None or until > 0


async def test_a_sec_that_died_opens_its_store_again(shared: Cluster) -> None:
    store = await shared.open("sec-a")
    claim = await create(store, "s-1")
    await shared.crash(store)
    assert (await write(store, append(claim, 2))).status is Status.FENCED

    await store.open(sec_id="sec-a", address="host:7433", version="1")

    (adopted,) = await store.adopt(await store.list_owned())
    assert adopted is not None
    await write_all(store, [append(adopted, 2)])


async def test_a_closed_store_can_be_opened_again(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    await create(store, "s-1")
    await store.close()

    await store.open(sec_id="sec-a", address="host:7433", version="1")

    assert len(await batches(store, "s-1")) == 1
