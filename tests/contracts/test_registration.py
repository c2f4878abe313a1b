"""What a SEC says of itself, which cluster it is in, and who owns what."""

from __future__ import annotations

import msgspec
import pytest

from sagaline_server.ports.cluster import ClusterStore
from sagaline_server.ports.store import SecRecord, StoreError
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import adopted, append, create, create_many, finish, new_saga, owned, write, write_all


async def secs_of(store: ClusterStore) -> list[SecRecord]:
    """Return the live SECs, without what a store in parts has besides."""
    return [msgspec.structs.replace(sec, elsewhere=()) for sec in await store.list_secs()]


async def test_a_new_incarnation_takes_sagas(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    assert await secs_of(store) == [SecRecord("sec-a", store.incarnation, "host:7433", "1")]


async def test_a_registration_can_be_changed_and_the_incarnation_stays(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    claim, incarnation = await create(store, "s-1"), store.incarnation

    await store.register(draining=False)
    await store.register(draining=True)
    await store.register(draining=True)

    expected = SecRecord("sec-a", incarnation, "host:7433", "1", draining=True)
    assert await secs_of(store) == [expected]
    assert store.incarnation == incarnation
    await write_all(store, [append(claim, 2), new_saga("s-2")])


async def test_other_secs_see_the_change(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")

    await first.register(draining=True)

    assert {sec.sec_id: sec.draining for sec in await second.list_secs()} == {"sec-a": True, "sec-b": False}


async def test_a_new_incarnation_of_a_name_starts_afresh(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    await store.register(draining=True)

    await store.open(sec_id="sec-a", address="elsewhere:7433", version="2")

    assert await secs_of(store) == [SecRecord("sec-a", store.incarnation, "elsewhere:7433", "2")]
    await store.register(draining=False)
    (sec,) = await store.list_secs()
    assert (sec.address, sec.version, sec.draining) == ("elsewhere:7433", "2", False)


async def test_a_dead_incarnation_registers_nothing(shared: Cluster) -> None:
    replaced, dead = await shared.open("sec-a"), await shared.open("sec-b")
    newer = await shared.open("sec-a")
    await shared.crash(dead)

    for store in (replaced, dead):
        with pytest.raises(StoreError, match="dead"):
            await store.register(draining=True)

    assert await secs_of(newer) == [SecRecord("sec-a", newer.incarnation, "host:7433", "1")]


async def test_a_closed_store_does_nothing_for_a_cluster(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    claim, sec = await create(store, "s-1"), (await store.list_secs())[0]
    await store.close()

    del claim
    for attempt in (
        store.register(draining=True),
        store.read_owners(["s-1"]),
        store.read_log("s-1", 1, 1),
        store.put_control("s-1", "01", b"x"),
        store.list_controls(),
        store.hand_off([], SecRecord("sec-b", sec.incarnation + 1, "", "")),
        anext(store.watch()),
        anext(store.watch_log("s-1", 1)),
    ):
        with pytest.raises(StoreError):
            await attempt


async def test_a_cluster_has_an_id_that_outlives_its_secs(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    cluster_id = store.cluster_id
    assert cluster_id
    await store.close()

    assert (await cluster.open("sec-b")).cluster_id == cluster_id


async def test_secs_of_one_cluster_agree_on_its_id(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    assert first.cluster_id == second.cluster_id != ""


async def test_the_revision_is_the_highest_that_was_seen(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    seen = [store.revision]
    assert seen[0] > 0
    claim = await create(store, "s-1")
    seen.append(store.revision)
    assert store.revision >= claim.revision
    result = await write(store, append(claim, 2))
    seen.append(store.revision)
    assert store.revision >= result.revision
    await store.register(draining=True)
    seen.append(store.revision)
    await store.list_owned()
    seen.append(store.revision)
    await store.close()
    seen.append(store.revision)

    assert seen == sorted(seen)


async def test_the_revision_follows_what_others_write_once_something_is_read(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    claim = await create(first, "s-1")

    await second.list_owned()

    assert second.revision >= claim.revision


async def test_owners_are_answered_in_the_order_in_which_they_were_asked_for(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    claims = await create_many(store, ["s-1", "s-2", "s-3"])
    await write_all(store, [finish(claims[1], 2)])

    owners = await store.read_owners(["s-3", "unknown", "s-2", "s-1", "s-3"])

    third, first = await owned(store, "s-3"), await owned(store, "s-1")
    assert list(owners) == [third, None, None, first, third]
    assert list(await store.read_owners([])) == []


async def test_more_owners_can_be_asked_for_than_one_transaction_holds(cluster: Cluster) -> None:
    store = await cluster.open("sec-a")
    ids = [f"s-{number:03}" for number in range(300)]
    await create_many(store, ids)

    owners = await store.read_owners(ids)

    assert [owner.saga_id for owner in owners if owner is not None] == ids


async def test_an_owner_is_read_with_its_epoch(shared: Cluster) -> None:
    first = await shared.open("sec-a")
    await create(first, "s-1")
    await shared.crash(first)
    second = await shared.open("sec-b")
    claim = await adopted(second, "s-1")

    (owner,) = await second.read_owners(["s-1"])

    assert owner is not None
    assert (owner.sec_id, owner.incarnation, owner.epoch) == ("sec-b", second.incarnation, 2)
    assert owner.revision == claim.revision
