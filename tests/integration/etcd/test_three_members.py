"""A cluster of three: one member may die or hang, also the leader, and everything goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from sagaline_server.ports.cluster import ControlPut, StoredControl
from sagaline_server.ports.store import Append, Status, StoreError
from sagaline_server.store.etcd.store import EtcdStore
from tests.contracts.sagas import append, batches, create, insist, settled, write, write_all
from tests.contracts.watching import batches_of, watching, watching_log
from tests.etcd_server import EtcdCluster, EtcdServer
from tests.integration.etcd.conftest import OpenStore

pytestmark = pytest.mark.etcd


@pytest.fixture(scope="module")
def started_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    cluster = EtcdCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.kill()


@pytest.fixture
def members(started_cluster: EtcdCluster) -> EtcdCluster:
    """Three members, all of them running."""
    started_cluster.start()
    return started_cluster


async def open_at(open_store: OpenStore, members: EtcdCluster, first: EtcdServer, **options: Any) -> EtcdStore:
    """Open a store that asks one member first."""
    others = (endpoint for endpoint in members.endpoints if endpoint != first.endpoint)
    endpoints = (first.endpoint, *others)
    return await open_store(
        **{"endpoints": endpoints, "lease_seconds": 60, "call_seconds": 2.0, "relist_seconds": 600, **options}
    )


async def test_commits_and_watches_go_on_when_the_leader_dies(open_store: OpenStore, members: EtcdCluster) -> None:
    leader = members.leader()
    writer = await open_at(open_store, members, leader, sec_id="sec-a")
    watcher = await open_at(open_store, members, members.followers()[0], sec_id="sec-b")
    claim = await create(writer, "s-1")
    appends: list[Append] = []
    async with (
        watching(writer) as at_leader,
        watching(watcher) as at_follower,
        watching_log(watcher, "s-1", 2) as log,
    ):
        for number in range(1, 7):
            if number == 4:
                leader.kill()
            appends.append(append(claim, number + 1))
            assert [result.status for result in await settled(writer, appends[-1:])] == [Status.DONE]
            await insist(lambda number=number: writer.put_control("s-1", f"{number:02}", b"x"))  # type: ignore[misc]
        for watch in (at_leader, at_follower):
            expected = [ControlPut(StoredControl("s-1", f"{number:02}", b"x")) for number in range(1, 7)]
            assert [await watch.next() for _ in expected] == expected
        assert await batches_of(log, 6) == [one.batch for one in appends]
    assert (await batches(watcher, "s-1"))[1:] == [one.batch for one in appends]


async def test_commits_and_watches_go_on_when_the_leader_hangs(open_store: OpenStore, members: EtcdCluster) -> None:
    leader = members.leader()
    options = {"call_seconds": 0.5, "silence_seconds": 0.5}
    writer = await open_at(open_store, members, leader, sec_id="sec-a", **options)
    claim = await create(writer, "s-1")
    async with watching(writer) as watch:
        await writer.put_control("s-1", "01", b"x")
        assert await watch.next() == ControlPut(StoredControl("s-1", "01", b"x"))
        leader.pause()
        try:
            one = append(claim, 2)
            assert [result.status for result in await settled(writer, [one])] == [Status.DONE]
            await insist(lambda: writer.put_control("s-1", "02", b"x"))
            assert await watch.next() == ControlPut(StoredControl("s-1", "02", b"x"))
        finally:
            leader.resume()
    assert (await batches(writer, "s-1"))[1:] == [one.batch]


async def test_a_member_that_lags_behind_is_not_taken_for_one_that_lost_data(
    open_store: OpenStore, members: EtcdCluster
) -> None:
    follower = members.followers()[0]
    writer = await open_at(open_store, members, members.leader(), sec_id="sec-a")
    claim = await create(writer, "s-1")
    follower.pause()
    for seq in range(2, 60):
        await write_all(writer, [append(claim, seq)])
    for member in members.members:
        if member.endpoint == writer._channel._members[0].endpoint:  # type: ignore[union-attr]
            follower.resume()
            member.kill()
    result = (await settled(writer, [append(claim, 60)]))[0]
    assert result.status is Status.DONE
    assert len(await batches(writer, "s-1")) == 60


async def test_without_a_majority_nothing_is_known_and_nothing_is_lost(
    open_store: OpenStore, members: EtcdCluster
) -> None:
    leader = members.leader()
    stays = members.followers()[0]
    store = await open_at(open_store, members, stays, call_seconds=0.5)
    claim = await create(store, "s-1")
    for member in members.members:
        if member is not stays:
            member.kill()
    one = append(claim, 2)
    assert (await write(store, one)).status is Status.UNKNOWN
    with pytest.raises(StoreError):
        await store.list_owned()

    leader.start()
    assert [result.status for result in await settled(store, [one])] == [Status.DONE]
    assert (await batches(store, "s-1"))[1:] == [one.batch]
