"""Watches on a real etcd: broken streams, compaction, restarts, and members that fall silent."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from sagaline_server.ports.cluster import ClusterEvent, ControlPut, LogPart, Resync, SecsChanged, StoredControl
from sagaline_server.ports.store import Append, StoreError
from sagaline_server.store.etcd.store import EtcdStore
from tests.contracts.sagas import append, create, create_many, finish, insist, settled, write_all
from tests.contracts.watching import Watching, batches_of, watching, watching_log
from tests.etcd_server import EtcdServer, independent_client
from tests.integration.etcd.conftest import OpenStore, ProxyTo
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.etcd

StartEtcd = Callable[..., EtcdServer]

SELDOM = 600.0
"""So long between two Resyncs that whatever is told is told by an event."""
CLUSTER_WATCHERS = 3
"""Of SECs, requests and limits."""


def put(control_id: str, saga_id: str = "s-1") -> ControlPut:
    return ControlPut(StoredControl(saga_id, control_id, b"x"))


async def ask(store: EtcdStore, control_id: str, saga_id: str = "s-1") -> None:
    await insist(lambda: store.put_control(saga_id, control_id, b"x"))


class Pair:
    """A SEC that writes, and one that watches from behind a proxy."""

    def __init__(self, writer: EtcdStore, watcher: EtcdStore, proxy: TcpProxy) -> None:
        self.writer = writer
        self.watcher = watcher
        self.proxy = proxy


OpenPair = Callable[..., Any]


@pytest.fixture
def open_pair(open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo) -> OpenPair:
    async def open_it(**options: Any) -> Pair:
        proxy = await proxy_to(etcd_server.endpoint)
        writer = await open_store(sec_id="sec-a", lease_seconds=60)
        endpoints = (proxy.endpoint, *options.pop("endpoints", ()))
        options = {"relist_seconds": SELDOM, "lease_seconds": 60, "call_seconds": 1.0, **options}
        watcher = await open_store(sec_id="sec-b", endpoints=endpoints, **options)
        return Pair(writer, watcher, proxy)

    return open_it


async def test_a_watch_goes_on_over_breaks_and_tells_each_event_once(open_pair: OpenPair) -> None:
    pair = await open_pair()
    await create(pair.writer, "s-1")
    expected: list[ClusterEvent] = []
    async with watching(pair.watcher) as watch:
        for number in range(30):
            await ask(pair.writer, f"{number:02}")
            expected.append(put(f"{number:02}"))
            if number % 10 == 5:
                pair.proxy.cut()
        assert [await watch.next() for _ in expected] == expected


async def test_a_compaction_during_a_break_becomes_a_resync(open_pair: OpenPair, etcd_server: EtcdServer) -> None:
    pair = await open_pair()
    await create(pair.writer, "s-1")
    async with watching(pair.watcher) as watch:
        await ask(pair.writer, "01")
        assert await watch.next() == put("01")
        pair.proxy.hang()
        pair.proxy.cut()
        for control_id in ("02", "03"):
            await ask(pair.writer, control_id)
        client = independent_client(etcd_server.endpoint)
        client.compact(pair.writer.revision, physical=True)
        client.close()
        pair.proxy.flow()

        assert await watch.next() == Resync()
        controls = await insist(pair.watcher.list_controls)
        assert [control.control_id for control in controls] == ["01", "02", "03"]
        await ask(pair.writer, "04")
        assert await watch.next() == put("04")


async def test_a_break_of_more_revisions_than_are_worth_going_through_becomes_a_resync(
    open_pair: OpenPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sagaline_server.store.etcd.hub.RESUMED_REVISIONS_MAX", 20)
    pair = await open_pair()
    await create_many(pair.writer, ["s-1", "s-2"])
    async with watching(pair.watcher) as watch:
        await ask(pair.writer, "01")
        assert await watch.next() == put("01")
        pair.proxy.hang()
        pair.proxy.cut()
        for number in range(50):
            await ask(pair.writer, f"{number:02}", "s-2")
        pair.proxy.flow()
        assert await watch.next() == Resync()
        await ask(pair.writer, "02")
        assert await watch.next() == put("02")


async def test_a_silent_member_is_left_for_another(open_pair: OpenPair, etcd_server: EtcdServer) -> None:
    pair = await open_pair(endpoints=(etcd_server.endpoint,), silence_seconds=0.3)
    await create(pair.writer, "s-1")
    async with watching(pair.watcher) as watch:
        await ask(pair.writer, "01")
        assert await watch.next() == put("01")
        pair.proxy.hang()
        await ask(pair.writer, "02")
        assert await watch.next() == put("02")
        pair.proxy.flow()


async def test_a_member_that_has_nothing_to_tell_is_not_left(open_pair: OpenPair) -> None:
    """It answers when it is asked whether it is there."""
    pair = await open_pair(silence_seconds=0.1, relist_seconds=1.0)
    await create(pair.writer, "s-1")
    async with watching(pair.watcher) as watch:
        hub = pair.watcher._hub
        assert hub is not None
        await ask(pair.writer, "01")
        await watch.until_event(put("01"))
        assert await watch.next() == Resync()
        assert hub._trouble == ""
        assert hub._heard_at > asyncio.get_running_loop().time() - 0.3


async def test_a_watch_goes_on_over_a_restart_of_etcd(open_store: OpenStore, own_etcd: StartEtcd) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60, relist_seconds=SELDOM)
    claim = await create(store, "s-1")
    async with watching(store) as watch, watching_log(store, "s-1", 2) as log:
        await ask(store, "01")
        assert await watch.next() == put("01")
        server.kill()
        server.start()
        one = append(claim, 2)
        await settled(store, [one])
        await ask(store, "02")
        assert await watch.next() == put("02")
        assert await batches_of(log, 1) == [one.batch]


async def test_a_watch_that_begins_while_etcd_is_away_resyncs_and_is_there_when_it_is_back(
    open_store: OpenStore, own_etcd: StartEtcd
) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60, call_seconds=0.3, relist_seconds=0.5)
    await create(store, "s-1")
    server.kill()
    watch = Watching(store.watch())
    assert [await watch.next() for _ in range(2)] == [Resync(), Resync()]
    server.start()
    async with asyncio.timeout(20):
        # What was put before the stream is there is told by a Resync.
        told: list[ClusterEvent] = [Resync()]
        for number in range(100_000):
            if not isinstance(told[-1], Resync):
                break
            await ask(store, f"{number:06}")
            told = await watch.until(lambda event: isinstance(event, ControlPut | Resync))
    assert isinstance(told[-1], ControlPut)


async def test_a_lease_that_is_revoked_by_hand_is_told_to_the_others(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    await open_store(sec_id="sec-a", lease_seconds=60)
    other = await open_store(sec_id="sec-b", lease_seconds=60, relist_seconds=SELDOM)
    async with watching(other) as watch:
        _, metadata = independent.get(f"{prefix}/sec/sec-a")
        independent.revoke_lease(metadata.lease_id)
        assert await watch.next() == SecsChanged()
    assert [sec.sec_id for sec in await other.list_secs()] == ["sec-b"]


async def test_another_cluster_is_not_watched(open_pair: OpenPair, own_etcd: StartEtcd, prefix: str) -> None:
    theirs = own_etcd()
    pair = await open_pair(endpoints=(theirs.endpoint,))
    await create(pair.writer, "s-1")
    client = independent_client(theirs.endpoint)
    for number in range(20):
        client.put(f"{prefix}/control/s-1/foreign-{number}", b"x")
    client.close()
    async with watching(pair.watcher) as watch:
        await ask(pair.writer, "01")
        assert await watch.next() == put("01")
        pair.proxy.cut()
        await ask(pair.writer, "02")
        assert await watch.next() == put("02")


# ---- logs ---------------------------------------------------------------------------------------------------


async def test_a_log_is_followed_over_breaks_without_gap_or_repetition(open_pair: OpenPair) -> None:
    pair = await open_pair()
    claim = await create(pair.writer, "s-1")
    appends: list[Append] = []
    async with watching_log(pair.watcher, "s-1", 2) as watch:
        following = asyncio.create_task(watch.rest())
        seq = 2
        for number in range(60):
            appends.append(append(claim, seq, entries=1 + number % 3))
            await write_all(pair.writer, appends[-1:])
            seq += 1 + number % 3
            if number % 12 == 6:
                pair.proxy.cut()
        last = finish(claim, seq)
        await write_all(pair.writer, [last])
        parts: list[LogPart] = await following
    assert [batch for part in parts for batch in part.batches] == [*(one.batch for one in appends), last.batch]
    assert [part.is_done for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_a_log_is_followed_over_a_compaction_during_a_break(open_pair: OpenPair, etcd_server: EtcdServer) -> None:
    pair = await open_pair()
    claim = await create(pair.writer, "s-1")
    appends = [append(claim, seq) for seq in range(2, 9)]
    async with watching_log(pair.watcher, "s-1", 2) as watch:
        following = asyncio.create_task(batches_of(watch, 1))
        await asyncio.sleep(0)
        await write_all(pair.writer, appends[:1])
        assert await following == [appends[0].batch]
        pair.proxy.hang()
        pair.proxy.cut()
        for one in appends[1:]:
            await write_all(pair.writer, [one])
        client = independent_client(etcd_server.endpoint)
        client.compact(pair.writer.revision, physical=True)
        client.close()
        pair.proxy.flow()
        assert await batches_of(watch, 6) == [one.batch for one in appends[1:]]


async def test_who_follows_a_log_is_told_when_etcd_stays_away(open_store: OpenStore, own_etcd: StartEtcd) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60, call_seconds=0.3, heal_seconds=0.6)
    await create(store, "s-1")
    server.kill()
    async with watching_log(store, "s-1") as watch:
        with pytest.raises(StoreError):
            await watch.next()
    server.start()
    async with watching_log(store, "s-1") as watch:
        assert len((await watch.next()).batches) == 1


async def test_many_logs_are_followed_over_one_stream_and_nothing_is_left_of_it(
    open_store: OpenStore, own_etcd: StartEtcd
) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60, relist_seconds=SELDOM)
    claims = await create_many(store, [f"s-{number:03}" for number in range(150)])

    async def follow(saga_id: str) -> int:
        async with watching_log(store, saga_id) as log:
            return sum(len(part.batches) for part in await log.rest())

    async with watching(store) as watch:
        followers = [asyncio.create_task(follow(claim.saga_id)) for claim in claims]
        await ask(store, "01", "s-000")
        await watch.until_event(put("01", "s-000"))
        await write_all(store, [append(claim, 2) for claim in claims])
        assert await metric(server, "etcd_debugging_mvcc_watch_stream_total") == 1
        await write_all(store, [finish(claim, 3) for claim in claims])
        assert await asyncio.gather(*followers) == [3] * 150
        async with asyncio.timeout(20):
            while await metric(server, "etcd_debugging_mvcc_watcher_total") > CLUSTER_WATCHERS:
                pass  # etcd has still to hear that the others are given up


async def metric(server: EtcdServer, name: str) -> float:
    def read() -> str:
        with urllib.request.urlopen(f"http://{server.endpoint}/metrics", timeout=10) as answer:
            return str(answer.read().decode())

    found = re.search(rf"^{name} (\S+)$", await asyncio.to_thread(read), re.MULTILINE)
    assert found is not None
    return float(found[1])
