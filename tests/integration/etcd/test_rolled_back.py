"""etcd is restored from a snapshot, or is another one: whoever knew it before does not believe it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from sagaline_server.ports.cluster import Resync
from sagaline_server.ports.store import Status, StoreError, StoreRolledBack
from tests.contracts.sagas import adopted, append, batches, create, insist, new_saga, settled, write, write_all
from tests.contracts.watching import watching, watching_log
from tests.etcd_server import EtcdServer
from tests.integration.etcd.backups import Backups
from tests.integration.etcd.conftest import OpenStore, ProxyTo

pytestmark = pytest.mark.etcd

StartEtcd = Callable[..., EtcdServer]


@pytest.fixture
def server(own_etcd: StartEtcd) -> EtcdServer:
    return own_etcd()


@pytest.fixture
def backups(server: EtcdServer, tmp_path: Path) -> Backups:
    return Backups(server, tmp_path)


async def refusal(call: Callable[[], Awaitable[object]]) -> StoreRolledBack:
    """Call until the store is refused; right after a break it may only be away."""
    async with asyncio.timeout(20):
        while True:
            try:
                await call()
            except StoreRolledBack as error:
                return error
            except StoreError:
                await asyncio.sleep(0)


async def test_a_running_sec_refuses_a_store_that_went_back(
    open_store: OpenStore, server: EtcdServer, backups: Backups
) -> None:
    """Its claim and its incarnation hold there too, so that without this its append would leave a gap in the log."""
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60, relist_seconds=0.3)
    claim = await create(store, "s-1")
    backups.make()
    for seq in range(2, 12):
        await settled(store, [append(claim, seq)])
    async with watching(store) as watch:
        backups.restore()

        while "restored from a snapshot" not in (result := await write(store, append(claim, 12))).error:
            assert result.status is Status.UNKNOWN
        assert result.status is Status.UNKNOWN
        assert store.serving_until == 0.0
        for call in (
            store.read("s-1"),
            store.list_secs(),
            store.put_control("s-1", "01", b"x"),
            store.register(draining=False),
            store.open(sec_id="sec-a", address="host:7433", version="1"),
        ):
            with pytest.raises(StoreRolledBack, match="Stop every SEC"):
                await call
        async with watching_log(store, "s-1") as log:
            with pytest.raises(StoreRolledBack):
                await log.next()
        assert await watch.next() == Resync()  # a watch is there to be told when there is something to be told

    fresh = await open_store(endpoints=(server.endpoint,), sec_id="sec-b")
    assert len(await batches(fresh, "s-1")) == 1


async def test_what_went_back_is_not_believed_when_it_has_come_as_far_again(
    open_store: OpenStore, server: EtcdServer, backups: Backups
) -> None:
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    claim = await create(store, "s-1")
    backups.make()
    await settled(store, [append(claim, 2)])
    backups.restore()
    await refusal(store.list_owned)
    fresh = await open_store(endpoints=(server.endpoint,), sec_id="sec-b")
    while fresh.revision <= store.revision:
        await write_all(fresh, [new_saga(f"new-{fresh.revision}")])

    assert (await write(store, append(claim, 3))).status is Status.UNKNOWN
    with pytest.raises(StoreRolledBack):
        await store.open(sec_id="sec-a", address="host:7433", version="1")


async def test_a_new_process_takes_a_restored_store_as_it_is(
    open_store: OpenStore, server: EtcdServer, backups: Backups
) -> None:
    """That is how an operator confirms it: stop every SEC, restore, start them again."""
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    claim = await create(store, "s-1")
    backups.make()
    await settled(store, [append(claim, 2)])
    await store.close()
    backups.restore()

    again = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    taken = await adopted(again, "s-1")
    await write_all(again, [append(taken, 2)])


async def test_a_restart_is_no_step_back(open_store: OpenStore, server: EtcdServer) -> None:
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    claim = await create(store, "s-1")
    for seq in (2, 3, 4):
        await settled(store, [append(claim, seq)])
        server.kill()
        server.start()
    assert len(await insist(lambda: batches(store, "s-1"))) == 4


async def test_another_cluster_in_the_place_of_ours_is_refused_until_ours_is_back(
    open_store: OpenStore, own_etcd: StartEtcd, server: EtcdServer, proxy_to: ProxyTo
) -> None:
    theirs = own_etcd()
    proxy = await proxy_to(server.endpoint)
    store = await open_store(endpoints=(proxy.endpoint,), lease_seconds=60, call_seconds=1.0)
    claim = await create(store, "s-1")
    cluster_id = store.cluster_id
    proxy.lead_to(theirs.endpoint)

    reopen = partial(store.open, sec_id="sec-a", address="host:7433", version="1")
    assert "another cluster" in str(await refusal(reopen))
    result = await write(store, append(claim, 2))
    assert (result.status, "another cluster" in result.error) == (Status.UNKNOWN, True)
    assert "another cluster" in str(await refusal(store.list_owned))

    proxy.lead_to(server.endpoint)
    assert [result.status for result in await settled(store, [append(claim, 2)])] == [Status.DONE]
    assert store.cluster_id == cluster_id
    stranger = await open_store(endpoints=(theirs.endpoint,), lease_seconds=60)
    assert stranger.cluster_id != cluster_id
    assert await stranger.list_owned() == []
