"""Sagas spread over two etcds: where each is, and that no other list of clusters than the first is ever used."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from typing import Any, Protocol

import pytest

from sagaline_server.core.sharding import shard_of
from sagaline_server.ports.cluster import Resync
from sagaline_server.ports.store import ListQuery, Status, StoreError, WrongShards
from sagaline_server.store.etcd import shards
from sagaline_server.store.etcd.options import EtcdOptions
from sagaline_server.store.etcd.shards import ShardRecord, agree
from sagaline_server.store.etcd.store import EtcdStore
from sagaline_server.store.sharded import ShardedStore
from tests.contracts.clusters import BootClock
from tests.contracts.sagas import append, create, create_many, finish, new_saga, settled, write, write_all
from tests.contracts.watching import Watching
from tests.etcd_server import EtcdServer, independent_client, second_etcd_server
from tests.integration.etcd.conftest import OpenStore
from tests.integration.etcd.test_layout import dump

__all__ = ["second_etcd_server"]

pytestmark = pytest.mark.etcd

SECONDS = 30.0
NAMES = [f"s-{number:02}" for number in range(40)]


class OpenShards(Protocol):
    async def __call__(self, *endpoints: str, sec_id: str = "sec-a", cell: str = "c", **options: Any) -> ShardedStore:
        """Open a store over clusters; without any: over the two that tests share."""
        ...


@pytest.fixture
async def open_shards(
    prefix: str, etcd_server: EtcdServer, second_etcd_server: EtcdServer
) -> AsyncIterator[OpenShards]:
    async with AsyncExitStack() as stack:

        async def open_it(*endpoints: str, sec_id: str = "sec-a", cell: str = "c", **options: Any) -> ShardedStore:
            clusters = endpoints or (etcd_server.endpoint, second_etcd_server.endpoint)
            given = {"prefix": prefix, "lease_seconds": 60, **options}
            each = [EtcdOptions((endpoint,), is_shard=True, **given) for endpoint in clusters]
            clock = BootClock()

            async def check() -> None:
                await agree(each, cell)

            store = ShardedStore([EtcdStore(one, clock) for one in each], clock, agree=check, relist_seconds=1.0)
            stack.push_async_callback(store.close)
            await store.open(sec_id=sec_id, address="host:7433", version="1")
            return store

        yield open_it


@pytest.fixture
def clients(etcd_server: EtcdServer, second_etcd_server: EtcdServer) -> Iterator[list[Any]]:
    """`etcd3`, connected to each of the two."""
    both = [independent_client(server.endpoint) for server in (etcd_server, second_etcd_server)]
    yield both
    for client in both:
        client.close()


# ---- where everything is


async def test_each_saga_is_in_the_cluster_that_its_id_names_and_the_sec_in_both(
    open_shards: OpenShards, clients: list[Any], prefix: str
) -> None:
    store = await open_shards()
    claims = await create_many(store, NAMES)
    await write_all(store, [append(claim, 2) for claim in claims[:20]])
    await write_all(store, [finish(claim, 2) for claim in claims[20:]])
    await store.put_control(NAMES[0], "01", b"x")

    for shard, client in enumerate(clients):
        found = dump(client, prefix)
        its = {name for name in NAMES if shard_of(name, 2) == shard}
        assert {name.removeprefix("record/") for name in found if name.startswith("record/")} == its
        owned = {name.removeprefix("owner/") for name in found if name.startswith("owner/")}
        done = {name.removeprefix("done/") for name in found if name.startswith("done/")}
        assert owned == its & set(NAMES[:20])
        assert done == its & set(NAMES[20:])
        assert (f"control/{NAMES[0]}/01" in found) == (NAMES[0] in its)
        _, metadata = found["sec/sec-a"]
        assert metadata.create_revision == store.parts[shard].incarnation
        assert list(client.get_lease_info(metadata.lease_id).keys) == [metadata.key]
        record, _ = found["shard"]
        assert json.loads(record) == {"cell": "c", "index": shard, "shards": 2, "hash": "sha256", "is_complete": True}


async def test_lists_go_through_all_clusters_in_one_order(open_shards: OpenShards) -> None:
    store = await open_shards()
    claims = await create_many(store, NAMES)
    await write_all(store, [finish(claim, 2) for claim in claims[::3]])

    for unfinished, expected in ((None, NAMES), (False, NAMES[::3])):
        found: list[str] = []
        while page := await store.list_heads(ListQuery(found[-1] if found else "", 7, unfinished=unfinished)):
            found += [head.saga_id for head in page]
        assert found == list(expected)


# ---- no other list


async def test_clusters_in_another_order_are_refused(
    open_shards: OpenShards, etcd_server: EtcdServer, second_etcd_server: EtcdServer
) -> None:
    await (await open_shards()).close()
    with pytest.raises(WrongShards, match="is shard 2 of 2 of cell c: list every cluster once, in the order"):
        await open_shards(second_etcd_server.endpoint, etcd_server.endpoint)
    await open_shards()


async def test_one_cluster_more_or_less_is_refused(
    open_shards: OpenShards,
    open_store: OpenStore,
    own_etcd: Callable[..., EtcdServer],
    etcd_server: EtcdServer,
    second_etcd_server: EtcdServer,
) -> None:
    await (await open_shards()).close()
    both = (etcd_server.endpoint, second_etcd_server.endpoint)
    with pytest.raises(WrongShards, match="is one of 2 shards of cell c, and etcd_endpoints has 3 clusters"):
        await open_shards(*both, own_etcd().endpoint)
    with pytest.raises(WrongShards, match="list all of the cell's clusters"):
        await open_store()


async def test_a_cluster_that_lost_its_data_or_is_another_one_is_refused(
    open_shards: OpenShards, own_etcd: Callable[..., EtcdServer], etcd_server: EtcdServer
) -> None:
    await (await open_shards()).close()
    with pytest.raises(WrongShards, match="has no shard of cell c, though the others say that it was given one"):
        await open_shards(etcd_server.endpoint, own_etcd().endpoint)


async def test_a_cluster_of_another_cell_is_refused(
    open_shards: OpenShards, own_etcd: Callable[..., EtcdServer], etcd_server: EtcdServer
) -> None:
    other = [own_etcd().endpoint, own_etcd().endpoint]
    await (await open_shards()).close()
    await (await open_shards(*other, cell="other")).close()
    with pytest.raises(WrongShards, match="is of cell other, and others in etcd_endpoints are of cell c"):
        await open_shards(etcd_server.endpoint, other[1])


async def test_one_cluster_listed_twice_is_refused(open_shards: OpenShards, etcd_server: EtcdServer) -> None:
    with pytest.raises(WrongShards, match="is shard 1 of 2 of cell c: list every cluster once"):
        await open_shards(etcd_server.endpoint, etcd_server.endpoint)
    await open_shards()


async def test_sagas_that_were_stored_without_shards_are_not_divided(
    open_shards: OpenShards, open_store: OpenStore, clients: list[Any], prefix: str
) -> None:
    alone = await open_store()
    await create(alone, "s-1")
    await alone.close()
    with pytest.raises(WrongShards, match="has sagas that were stored without shards"):
        await open_shards()
    assert "shard" not in dump(clients[0], prefix)
    await (await open_store()).close()  # it is as it was


async def test_a_first_start_that_died_halfway_is_made_whole(
    open_shards: OpenShards, clients: list[Any], prefix: str
) -> None:
    clients[0].put(f"{prefix}/shard", '{"cell":"half","index":0,"shards":2,"hash":"sha256","is_complete":false}')
    await (await open_shards()).close()
    records = [ShardRecord(**json.loads(client.get(f"{prefix}/shard")[0])) for client in clients]
    assert records == [ShardRecord("half", index, 2, is_complete=True) for index in range(2)]


async def test_secs_that_start_first_at_once_agree(open_shards: OpenShards) -> None:
    opened = await asyncio.gather(*(open_shards(sec_id=f"sec-{name}", cell=name) for name in "abcd"))
    assert [sec.sec_id for sec in await opened[0].list_secs()] == [f"sec-{name}" for name in "abcd"]
    await create_many(opened[2], NAMES)
    assert len(await opened[3].list_heads(ListQuery(limit=100))) == len(NAMES)


async def test_a_list_that_another_sec_completes_while_it_is_read_is_no_wrong_one(
    open_shards: OpenShards, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second cluster is read before the other SEC comes, the first when it has gone through with it."""
    read = shards._Cluster.read
    has_come, has_read_the_second = False, asyncio.Event()

    async def read_around(cluster: shards._Cluster) -> None:
        nonlocal has_come
        if cluster.index == 0 and not has_come:
            has_come = True
            await has_read_the_second.wait()
            await open_shards(sec_id="sec-b", cell="b")
        await read(cluster)
        has_read_the_second.set()

    monkeypatch.setattr(shards._Cluster, "read", read_around)
    store = await open_shards(sec_id="sec-a", cell="a")
    assert [sec.sec_id for sec in await store.list_secs()] == ["sec-a", "sec-b"]


# ---- one of them away


async def test_what_is_in_the_other_cluster_goes_on(
    open_shards: OpenShards, own_etcd: Callable[..., EtcdServer]
) -> None:
    servers = [own_etcd(), own_etcd()]
    store = await open_shards(*(server.endpoint for server in servers), call_seconds=0.5)
    claims = {claim.saga_id: claim for claim in await create_many(store, NAMES)}
    here = [name for name in NAMES if store.part_of(name) == 0]
    there = [name for name in NAMES if store.part_of(name) == 1]
    secs, conditions = await store.list_secs(), await store.list_conditions()
    servers[1].kill()

    writes = [append(claims[name], 2) for name in (*here, *there)]
    results = await store.commit(writes)
    assert [result.status for result in results] == [Status.DONE] * len(here) + [Status.UNKNOWN] * len(there)
    assert [owned.saga_id for owned in await store.list_owned()] == here
    assert (await store.list_secs(), await store.list_conditions()) == (secs, conditions)
    await write_all(store, [finish(claims[here[0]], 3)])
    assert await store.read(here[0]) is not None
    assert store.serving_until
    for ask in (store.read(there[0]), store.list_heads(ListQuery()), store.read_owners([here[1], there[1]])):
        with pytest.raises(StoreError):
            await ask

    servers[1].start()
    assert {result.status for result in await settled(store, writes)} == {Status.DONE}
    assert [owned.saga_id for owned in await store.list_owned()] == sorted(set(NAMES) - {here[0]})


async def test_a_watch_begins_without_a_cluster_that_is_away_and_says_when_it_is_back(
    open_shards: OpenShards, own_etcd: Callable[..., EtcdServer]
) -> None:
    servers = [own_etcd(), own_etcd()]
    store = await open_shards(
        *(server.endpoint for server in servers), call_seconds=0.5, relist_seconds=600.0, silence_seconds=0.5
    )
    here, there = (next(name for name in NAMES if store.part_of(name) == part) for part in range(2))
    await create_many(store, [here, there])
    servers[1].kill()
    watch = Watching(store.watch())
    assert await watch.next() == Resync()
    await store.put_control(here, "01", b"x")
    await watch.until(lambda event: getattr(event, "control", None) is not None)
    servers[1].start()
    await watch.until_event(Resync())


async def test_a_sec_whose_lease_ended_in_one_cluster_is_dead_and_lives_again_in_both(
    open_shards: OpenShards, clients: list[Any], prefix: str
) -> None:
    store, other = await open_shards(), await open_shards(sec_id="sec-b")
    claims = await create_many(store, NAMES)
    _, metadata = clients[1].get(f"{prefix}/sec/sec-a")
    clients[1].revoke_lease(metadata.lease_id)

    assert [sec.sec_id for sec in await store.list_secs()] == ["sec-b"]
    # Others see that it still lives in the first: it keeps what it has there, and is given nothing.
    (half, _) = await other.list_secs()
    assert (half.sec_id, half.draining, half.incarnations) == ("sec-a", True, (store.incarnation,))
    orphans = [saga for saga in await other.list_owned() if saga.incarnation not in half.incarnations]
    assert {saga.saga_id for saga in orphans} == {name for name in NAMES if store.part_of(name) == 1}
    adopted = await other.adopt(await other.list_owned())
    assert {claim.saga_id for claim in adopted if claim is not None} == {saga.saga_id for saga in orphans}
    fenced = [result.status is Status.FENCED for result in await store.commit([append(claim, 2) for claim in claims])]
    assert fenced == [store.part_of(name) == 1 for name in NAMES]

    before = store.incarnation
    await store.open(sec_id="sec-a", address="host:7433", version="1")

    assert store.incarnation > before
    assert [(sec.sec_id, sec.draining) for sec in await other.list_secs()] == [("sec-a", False), ("sec-b", False)]
    assert (await write(store, append(claims[0], 3))).status is Status.FENCED
    assert (await write(store, new_saga("s-new"))).status is Status.DONE
