"""A killed SEC restarts on the same store and finishes its sagas: real processes, both stores."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sagaline import GraphBuilder
from sagaline.client import Client, NewSaga
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2
from tests.etcd_server import EtcdServer, etcd_server
from tests.failover.restart.actions import fail, hand_on, slow
from tests.processes import Process, free_port, start, until_serving

__all__ = ["etcd_server"]

SAGAS = 40
SECONDS = 40.0


def three(last: str) -> Graph[str, str]:
    """Return pass, slow, then pass or fail."""
    graph = GraphBuilder(f"three-{last}", params=str)
    first = graph.add("first", hand_on, graph.params)
    second = graph.add("second", slow, first)
    return graph.build(result=graph.add("third", fail if last == "fail" else hand_on, second))


class Site:
    """A SEC and a worker on a store, which tests kill and start again."""

    def __init__(self, directory: Path, settings: list[str]) -> None:
        self.address = f"127.0.0.1:{free_port()}"
        self.trace = directory / "trace"
        self.gate = directory / "gate"
        self._settings = ["--listen", self.address, "--sec-id", "sec-1", "--grace-timeout", "3", *settings]
        self._environment = {"SAGALINE_TEST_TRACE": str(self.trace), "SAGALINE_TEST_GATE": str(self.gate)}
        self.processes: list[Process] = []

    async def start_sec(self) -> Process:
        """Start the SEC and wait until it serves."""
        process = await start("sec", sys.executable, "-m", "sagaline_server", *self._settings)
        self.processes.append(process)
        await until_serving(self.address)
        return process

    async def start_worker(self) -> Process:
        """Start a worker; it connects when it can."""
        os.environ.update(self._environment)
        process = await start("worker", sys.executable, "-m", "tests.failover.restart.actions", self.address)
        self.processes.append(process)
        return process

    def runs(self) -> Counter[str]:
        """Count the runs of each idempotency key."""
        return Counter(self.trace.read_text().split()) if self.trace.exists() else Counter()

    async def until_runs(self, count: int, suffix: str) -> None:
        """Wait until so many different keys that end so have run."""
        async with asyncio.timeout(SECONDS):
            while sum(key.endswith(suffix) for key in self.runs()) < count:  # noqa: ASYNC110 - another process writes it
                await asyncio.sleep(0.02)


@pytest.fixture(params=["sqlite", pytest.param("etcd", marks=pytest.mark.etcd)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[str]]:
    """The settings of a SEC on each store."""
    if request.param == "sqlite":
        yield ["--store", "sqlite", "--data-dir", str(tmp_path / "data")]
        return
    server: EtcdServer = request.getfixturevalue("etcd_server")
    prefix = f"/{tmp_path.name}/"
    yield ["--store", "etcd", "--etcd-endpoints", server.endpoint, "--etcd-prefix", prefix, "--lease-ttl", "3"]


@pytest.fixture
async def site(tmp_path: Path, settings: list[str]) -> AsyncIterator[Site]:
    """A site without processes; those that a test starts are stopped."""
    site = Site(tmp_path, settings)
    yield site
    for process in reversed(site.processes):
        await process.stop()


async def finished(site: Site, ids: list[str]) -> list[saga_pb2.Saga]:
    """Wait for sagas to end."""
    async with Client(site.address) as client:
        return [await client.wait(saga_id, wait_s=SECONDS) for saga_id in ids]


async def create(site: Site, last: str, count: int = SAGAS) -> list[str]:
    """Create sagas and return their ids."""
    async with Client(site.address) as client:
        created = await client.create_many([NewSaga(three(last), "value") for _ in range(count)])
        return [one.saga_id for one in created]


async def test_sagas_survive_the_death_of_the_sec(site: Site) -> None:
    """Killed with attempts in flight and restarted, the SEC finishes every saga, and nothing ran twice.

    The worker kept its attempts, so the new incarnation takes them on.
    """
    sec = await site.start_sec()
    await site.start_worker()
    ids = await create(site, "pass")
    await site.until_runs(SAGAS, "second/action")
    sec.signal(signal.SIGKILL)
    await sec.ended()
    site.gate.touch()
    await site.start_sec()
    assert {saga.state for saga in await finished(site, ids)} == {saga_pb2.SAGA_STATE_SUCCEEDED}
    runs = site.runs()
    assert {key.rpartition("/")[0].partition("/")[0] for key in runs} == set(ids)
    assert set(runs.values()) == {1}


async def test_unwinding_survives_the_death_of_the_sec(site: Site) -> None:
    """Killed while sagas unwind, the SEC undoes everything that succeeded and nothing that failed."""
    sec = await site.start_sec()
    await site.start_worker()
    ids = await create(site, "fail")
    await site.until_runs(SAGAS, "second/action")
    site.gate.touch()
    await site.until_runs(1, "second/undo")
    sec.signal(signal.SIGKILL)
    await sec.ended()
    await site.start_sec()
    assert {saga.state for saga in await finished(site, ids)} == {saga_pb2.SAGA_STATE_UNWOUND}
    runs = site.runs()
    for saga_id in ids:
        assert runs[f"{saga_id}/first/undo"] >= 1
        assert runs[f"{saga_id}/second/undo"] >= 1
        assert f"{saga_id}/third/undo" not in runs


async def test_attempts_of_a_dead_worker_run_elsewhere(site: Site) -> None:
    """A killed worker's attempts are unknown after the grace time, and run again on another worker."""
    await site.start_sec()
    worker = await site.start_worker()
    ids = await create(site, "pass", 5)
    await site.until_runs(5, "second/action")
    worker.signal(signal.SIGKILL)
    await worker.ended()
    site.gate.touch()
    await site.start_worker()
    sagas = await finished(site, ids)
    assert {saga.state for saga in sagas} == {saga_pb2.SAGA_STATE_SUCCEEDED}
    assert all(site.runs()[f"{saga_id}/second/action"] == 2 for saga_id in ids)


async def test_sigterm_leaves_everything_for_the_next(site: Site) -> None:
    """SIGTERM ends the SEC with exit code 0, and the next one goes on where it was; nothing ran twice."""
    sec = await site.start_sec()
    await site.start_worker()
    ids = await create(site, "pass", 10)
    await site.until_runs(10, "second/action")
    sec.signal(signal.SIGTERM)
    assert await sec.ended() == 0
    await site.start_sec()
    site.gate.touch()
    assert {saga.state for saga in await finished(site, ids)} == {saga_pb2.SAGA_STATE_SUCCEEDED}
    assert set(site.runs().values()) == {1}


async def test_one_data_directory_has_one_sec(tmp_path: Path) -> None:
    """A second SEC on the same SQLite directory refuses to start and says why."""
    site = Site(tmp_path, ["--store", "sqlite", "--data-dir", str(tmp_path / "data")])
    try:
        await site.start_sec()
        other = await start(
            "other",
            *(sys.executable, "-m", "sagaline_server", "--listen", f"127.0.0.1:{free_port()}"),
            *("--store", "sqlite", "--data-dir", str(tmp_path / "data")),
        )
        assert await other.ended() == 2
    finally:
        for process in site.processes:
            await process.stop()
