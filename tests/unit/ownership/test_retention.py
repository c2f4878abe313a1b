"""Finished sagas are archived, compacted and removed in time, and no others ever."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1 import log_pb2
from sagaline_server.ownership import retention
from sagaline_server.ownership.membership import Membership
from sagaline_server.ownership.retention import Retention, RetentionTimes
from sagaline_server.ports.archive import ArchivedSaga, ArchiveError
from sagaline_server.ports.store import Append, SecRecord
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.store.memory import MemoryBackend, MemoryStore
from tests.contracts import sagas
from tests.unit.api.fake_runtime import ManualClock

DAY = 86_400.0
SEC = "sec-1"


class Shelf:
    """An archive that may be full."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.is_full = False

    async def put(self, sagas: Sequence[ArchivedSaga]) -> None:
        if self.is_full:
            raise ArchiveError("full")
        self.kept.update({saga.saga_id: saga.dump for saga in sagas})

    async def close(self) -> None:
        """Nothing is held."""


class Attic:
    """SECs that share a store and look after its finished sagas."""

    def __init__(self, *sec_ids: str, archive: Shelf | None = None) -> None:
        self.clock = ManualClock()
        self.backend = MemoryBackend()
        self.stores = {sec_id: MemoryStore(self.backend) for sec_id in sec_ids}
        self.metrics = RuntimeMetrics(CollectorRegistry())
        times = RetentionTimes(7 * DAY, 30 * DAY, 300.0)
        records = [SecRecord(sec_id, number, "", "") for number, sec_id in enumerate(sec_ids, 1)]
        self.retentions = {}
        for sec_id in sec_ids:
            membership = Membership(sec_id)
            membership.update(records, 1)
            self.retentions[sec_id] = Retention(
                self.stores[sec_id], membership, self.clock, times, self.metrics, archive
            )

    @property
    def store(self) -> MemoryStore:
        return next(iter(self.stores.values()))

    async def open(self) -> None:
        for sec_id, store in self.stores.items():
            await store.open(sec_id=sec_id, address="", version="")

    async def finish(self, *saga_ids: str) -> None:
        """Create sagas and finish them now."""
        for saga_id in saga_ids:
            done = log_pb2.DoneRecord.FromString(sagas.done(saga_id))
            done.saga.update_time.FromSeconds(int(self.clock.now))
            claim = await sagas.create(self.store, saga_id)
            one = sagas.finish(claim, 2)
            await sagas.write_all(
                self.store,
                [Append(claim, 2, one.batch, one.writer_id, done=done.SerializeToString(deterministic=True))],
            )

    async def pass_days(self, days: float) -> None:
        self.clock.now += days * DAY
        for each in self.retentions.values():
            await each.sweep()

    async def kept(self, *saga_ids: str) -> list[str]:
        """Say how much there is of each saga."""
        found = [await self.store.read(saga_id) for saga_id in saga_ids]
        return ["nothing" if saga is None else "all" if saga.batches else "summary" for saga in found]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "PAUSE_SECONDS", 0.0)


async def attic(*sec_ids: str, archive: Shelf | None = None) -> Attic:
    made = Attic(*(sec_ids or (SEC,)), archive=archive)
    await made.open()
    return made


async def test_a_finished_saga_is_compacted_and_then_removed() -> None:
    here = await attic()
    await here.finish("a")
    stages = []
    for days in (6.9, 0.2, 22.8, 0.2):
        await here.pass_days(days)
        stages += await here.kept("a")
    assert stages == ["all", "summary", "summary", "nothing"]
    assert (here.metrics.compacted, here.metrics.removed) == (1, 1)


async def test_an_unfinished_saga_stays_whole_for_ever() -> None:
    here = await attic()
    await sagas.create(here.store, "running")
    await here.finish("done")
    await here.pass_days(1000)
    await here.pass_days(1000)
    assert await here.kept("running", "done") == ["all", "nothing"]


async def test_an_id_that_was_removed_may_be_used_again() -> None:
    here = await attic()
    await here.finish("a")
    await here.pass_days(31)
    await here.finish("a")
    await here.pass_days(6)
    assert await here.kept("a") == ["all"]


async def test_many_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "HEADS_AT_ONCE", 3)
    here = await attic()
    names = [f"s{number}" for number in range(10)]
    await here.finish(*names)
    await here.pass_days(8)
    assert set(await here.kept(*names)) == {"summary"}
    await here.finish("young")
    await here.pass_days(8)
    assert await here.kept("young") == ["summary"]
    assert here.metrics.compacted == 11


async def test_secs_share_the_work() -> None:
    here = await attic("sec-1", "sec-2", "sec-3")
    names = [f"s{number}" for number in range(30)]
    await here.finish(*names)
    await here.pass_days(31)
    assert set(await here.kept(*names)) == {"nothing"}
    assert here.metrics.removed == 30


async def test_what_is_deleted_was_archived_before() -> None:
    shelf = Shelf()
    here = await attic(archive=shelf)
    await here.finish("a", "b")
    shelf.is_full = True
    for days in (8, 30):
        with pytest.raises(ArchiveError):
            await here.pass_days(days)
        assert await here.kept("a", "b") == ["all", "all"]
    shelf.is_full = False
    await here.pass_days(0)
    assert await here.kept("a", "b") == ["nothing", "nothing"]
    assert sorted(shelf.kept) == ["a", "b"]
    assert b'{"record":' in gzip.decompress(shelf.kept["a"])


async def test_a_log_that_can_not_be_archived_stays() -> None:
    here = await attic(archive=Shelf())
    claim = await sagas.create(here.store, "odd")
    done = log_pb2.DoneRecord.FromString(sagas.done("odd"))
    done.saga.update_time.FromSeconds(int(here.clock.now))
    writer_id = b"w" * 16
    odd = sagas.batch(writer_id, 2) + b"\xff\xff"
    await sagas.write_all(here.store, [Append(claim, 2, odd, writer_id, done=done.SerializeToString())])
    await here.finish("a")
    await here.pass_days(31)
    assert await here.kept("odd", "a") == ["all", "nothing"]
