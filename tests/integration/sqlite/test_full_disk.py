"""A disk that is full: nothing is written in half, nothing is taken for done, and all goes on when there is room."""

from __future__ import annotations

import contextlib
import resource
import sqlite3
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from sagaline_server.ports.store import Status, StoreError
from sagaline_server.store.sqlite import DATABASE, SqliteStore
from tests.contracts.sagas import append, batches, create, new_saga, settled, write

ROOM = 64 * 1024
BIG = 200 * 1024


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    opened = SqliteStore(tmp_path)
    await opened.open(sec_id="sec-a", address="host:7433", version="1")
    yield opened
    await opened.close()


@contextlib.contextmanager
def full(directory: Path) -> Iterator[None]:
    """Let no file of this process grow beyond a little more than the log has: writes fail in their middle."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (directory / f"{DATABASE}-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + ROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_writes_are_unknown_and_done_once_when_there_is_room(store: SqliteStore, tmp_path: Path) -> None:
    claim = await create(store, "s-1")
    one, other = append(claim, 2, filler=BIG), new_saga("s-2", filler=BIG)
    with full(tmp_path):
        results = await store.commit([one, other])
        assert [result.status for result in results] == [Status.UNKNOWN] * 2
        assert "the database failed" in results[0].error
        with pytest.raises(StoreError):
            await store.put_control("s-1", "01", b"x" * BIG)
        # What was written before can be read, and nothing of what failed.
        assert await batches(store, "s-1") != []
        assert len(await batches(store, "s-1")) == 1
        assert await store.read("s-2") is None
    assert [result.status for result in await settled(store, [one, other])] == [Status.DONE] * 2
    assert [result.status for result in await settled(store, [one, other])] == [Status.DONE] * 2  # recognised
    assert (await batches(store, "s-1"))[1:] == [one.batch]
    assert await store.list_controls() == []


async def test_small_writes_go_on_where_a_large_one_fails(store: SqliteStore, tmp_path: Path) -> None:
    claim = await create(store, "s-1")
    with full(tmp_path):
        assert (await write(store, new_saga("s-2", filler=BIG))).status is Status.UNKNOWN
        assert (await write(store, append(claim, 2))).status is Status.DONE


async def test_what_the_disk_took_is_whole_after_a_restart(store: SqliteStore, tmp_path: Path) -> None:
    claim = await create(store, "s-1")
    one = append(claim, 2, filler=BIG)
    with full(tmp_path):
        assert (await write(store, one)).status is Status.UNKNOWN
    with sqlite3.connect(f"file:{tmp_path / DATABASE}?mode=ro", uri=True) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    other.close()
    assert (await write(store, one)).status is Status.DONE
