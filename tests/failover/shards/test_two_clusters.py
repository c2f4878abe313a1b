"""Two SECs on two etcd clusters: a cluster goes away and comes back, a SEC dies, every saga ends. Real processes."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sagaline import GraphBuilder
from sagaline.client import Client, NewSaga
from sagaline.errors import RpcError
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2
from sagaline_server.core.sharding import shard_of
from tests.etcd_server import QUICK, EtcdServer, independent_client
from tests.failover.hosts import Host, SecHost, SecSettings, make_sec, make_worker
from tests.failover.restart.actions import hand_on, slow
from tests.failover.waiting import until
from tests.integration.secs import run

pytestmark = pytest.mark.etcd

SECONDS = 60.0
LEASE_SECONDS = 3
PREFIX = "sharded"
SLOTS_OF_WORKER = 100
SAGAS = 40
"""Fewer than the worker has slots: those of a cluster that is away keep theirs."""

SUCCEEDED = saga_pb2.SAGA_STATE_SUCCEEDED


def three() -> Graph[str, str]:
    """Return pass, slow, pass."""
    graph = GraphBuilder("three", params=str)
    second = graph.add("second", slow, graph.add("first", hand_on, graph.params))
    return graph.build(result=graph.add("third", hand_on, second))


class Site:
    """Two etcds, two SECs, a worker."""

    def __init__(self, folder: Path, etcds: list[EtcdServer]) -> None:
        self.folder = folder
        self.etcds = etcds
        self.secs: list[SecHost] = []
        self.worker: Host | None = None
        self.trace = folder / "trace"
        self.gate = folder / "gate"

    async def start(self, stack: AsyncExitStack) -> None:
        """Start the SECs and the worker."""
        settings = SecSettings(PREFIX, lease_ttl=LEASE_SECONDS, drain_timeout=20.0)
        clusters = ";".join(etcd.endpoint for etcd in self.etcds)
        for number in (1, 2):
            sec = await make_sec(stack, f"sec-{number}", self.folder, settings, [clusters], proxied=False)
            self.secs.append(sec)
            await sec.launch()
        await asyncio.gather(*(sec.until_serving() for sec in self.secs))
        command = ["-m", "tests.failover.restart.actions", ",".join(sec.address for sec in self.secs)]
        environment = {"SAGALINE_TEST_TRACE": str(self.trace), "SAGALINE_TEST_GATE": str(self.gate)}
        self.worker = make_worker(stack, "worker", self.folder, command, environment)
        await self.worker.launch()

    def runs(self) -> Counter[str]:
        """Count the runs of each idempotency key."""
        return Counter(self.trace.read_text().split()) if self.trace.exists() else Counter()

    async def until_runs(self, saga_ids: Collection[str], node: str) -> None:
        """Wait until a node of each saga has run."""
        await until(lambda: _holds(all(f"{saga_id}/{node}/action" in self.runs() for saga_id in saga_ids)), SECONDS)

    async def create(self, names: str) -> tuple[list[str], list[str]]:
        """Create sagas at both SECs; returns those of each cluster."""
        ids = [f"{names}-{number:02}" for number in range(SAGAS)]
        for sec, its in zip(self.secs, (ids[::2], ids[1::2]), strict=True):
            async with Client(sec.address) as client:
                created = await client.create_many([NewSaga(three(), "v", saga_id=saga_id) for saga_id in its])
                assert all(each.error is None for each in created)
        first, second = ([saga_id for saga_id in ids if shard_of(saga_id, 2) == shard] for shard in range(2))
        assert min(len(first), len(second)) > SAGAS // 5
        return first, second

    def owners(self, shard: int) -> dict[str, bytes]:
        """Return the owners as `etcd3` reads them from a cluster."""
        client = independent_client(self.etcds[shard].endpoint)
        start = f"{PREFIX}/owner/"
        found = {metadata.key.decode().removeprefix(start): value for value, metadata in client.get_prefix(start)}
        client.close()
        return found


async def _holds(value: bool) -> bool:
    return value


async def succeeded(sec: SecHost, saga_ids: Collection[str]) -> None:
    """Wait until all of them have."""
    async with Client(sec.address, timeout_s=3.0) as client:
        for saga_id in saga_ids:

            async def has_ended(saga_id: str = saga_id) -> bool:
                return (await client.get(saga_id)).state == SUCCEEDED

            await until(has_ended, SECONDS)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack:
        etcds = []
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            etcds.append(EtcdServer(tmp_path / name, *QUICK))
            stack.callback(etcds[-1].kill)
            await asyncio.to_thread(etcds[-1].start)
        site = Site(tmp_path, etcds)
        await site.start(stack)
        yield site


async def test_what_is_in_the_other_cluster_goes_on_and_all_ends_when_it_is_back(site: Site) -> None:
    here, there = await site.create("s")
    await site.until_runs([*here, *there], "second")
    site.etcds[1].kill()
    site.gate.touch()

    for sec in site.secs:
        await succeeded(sec, here)
    async with Client(site.secs[0].address, timeout_s=3.0) as client:
        more = [f"more-{number}" for number in range(20)]
        await client.create_many([NewSaga(three(), "v", saga_id=each) for each in more if shard_of(each, 2) == 0])
        await succeeded(site.secs[1], [each for each in more if shard_of(each, 2) == 0])
        # Of the other only what a SEC has in its memory is answered.
        with pytest.raises(RpcError):
            await client.get(next(each for each in more if shard_of(each, 2) == 1))

    await asyncio.to_thread(site.etcds[1].start)
    for sec in site.secs:
        await succeeded(sec, there)
    assert not any(site.owners(shard) for shard in range(2))
    assert {key.rpartition("/")[2] for key in site.runs()} == {"action"}


async def test_a_cluster_that_hangs_past_the_leases_ends_them_and_all_go_on(site: Site) -> None:
    here, there = await site.create("s")
    await site.until_runs([*here, *there], "second")
    site.etcds[1].pause()
    site.gate.touch()
    try:
        for sec in site.secs:
            await succeeded(sec, here)
        await asyncio.sleep(2 * LEASE_SECONDS)
    finally:
        site.etcds[1].resume()

    for sec in site.secs:
        await succeeded(sec, there)
    assert {key.rpartition("/")[2] for key in site.runs()} == {"action"}


async def test_the_sagas_of_a_sec_that_dies_are_adopted_in_both_clusters(site: Site) -> None:
    here, there = await site.create("s")
    await site.until_runs([*here, *there], "second")
    dead, survivor = site.secs
    await dead.kill()
    for shard in range(2):

        async def has_left(shard: int = shard) -> bool:
            return not any(b"sec-1" in each for each in site.owners(shard).values())

        await until(has_left, SECONDS)
    site.gate.touch()
    await succeeded(survivor, [*here, *there])

    await dead.launch()
    await dead.until_serving()
    async with Client(survivor.address) as client:
        await until(lambda: _lists(client, ["sec-1", "sec-2"]), SECONDS)
    again, there_again = await site.create("again")
    await succeeded(dead, [*again, *there_again])


async def _lists(client: Client, names: list[str]) -> bool:
    return sorted(status.sec.sec_id for status in await client.secs()) == names


async def test_a_sec_that_leaves_hands_off_in_both_clusters(site: Site) -> None:
    here, there = await site.create("s")
    await site.until_runs([*here, *there], "second")
    leaving, staying = site.secs
    assert await leaving.leave() == 0
    assert all(b"sec-2" in owner for shard in range(2) for owner in site.owners(shard).values())
    site.gate.touch()
    await succeeded(staying, [*here, *there])
    assert set(site.runs().values()) == {1}


async def test_a_sec_with_the_clusters_in_another_order_says_so_and_ends(site: Site) -> None:
    backwards = ";".join(etcd.endpoint for etcd in reversed(site.etcds))
    code, _, words = await run(
        *(sys.executable, "-m", "sagaline_server", "--listen", "127.0.0.1:0", "--sec-id", "sec-3", "--store", "etcd"),
        *("--etcd-endpoints", backwards, "--etcd-prefix", PREFIX),
        directory=site.folder,
    )
    assert code == 2
    assert "sagaline server: cluster 1 of etcd_endpoints" in words
    assert "in the order in which they were listed first" in words
