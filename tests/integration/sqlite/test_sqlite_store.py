"""What only SQLite does: a directory that is one process's own, and a disk that may fail or hang."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
import threading
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import ClassVar, Protocol

import msgspec
import pytest

from sagaline_server.ports.cluster import ControlGone
from sagaline_server.ports.store import SecNameTaken, Status, StoreError
from sagaline_server.store import sqlite as sqlite_store
from sagaline_server.store.sqlite import DATABASE, LOCK, SqliteStore
from sagaline_server.store.sqlite_schema import VERSIONS
from tests.contracts.sagas import append, batches, create, finish, new_saga, owned, write, write_all
from tests.contracts.watching import batches_of, watching, watching_log

ROOT = Path(__file__).resolve().parents[3]


class OpenStore(Protocol):
    async def __call__(
        self, directory: Path, *, sec_id: str = "sec-a", commit_seconds: float = 10.0
    ) -> SqliteStore: ...


class SlowDisk(sqlite3.Connection):
    """SQLite on a disk that can be made to hang in a commit."""

    answers: ClassVar[threading.Event] = threading.Event()

    def commit(self) -> None:
        assert SlowDisk.answers.wait(30)
        super().commit()


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    """Open stores that are closed when the test ends."""
    SlowDisk.answers.set()
    async with AsyncExitStack() as stack:

        async def open_it(directory: Path, *, sec_id: str = "sec-a", commit_seconds: float = 10.0) -> SqliteStore:
            connect = partial(sqlite_store.connect, factory=SlowDisk)
            store = SqliteStore(directory, connect=connect, commit_seconds=commit_seconds)
            await store.open(sec_id=sec_id, address="host:7433", version="1")
            stack.push_async_callback(store.close)
            return store

        yield open_it


async def test_a_directory_is_made_where_it_is_missing(open_store: OpenStore, tmp_path: Path) -> None:
    await open_store(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b" / DATABASE).exists()


async def test_a_directory_belongs_to_one_store_at_a_time(open_store: OpenStore, tmp_path: Path) -> None:
    first = await open_store(tmp_path)
    for sec_id in ("sec-a", "sec-b"):
        with pytest.raises(SecNameTaken, match=str(tmp_path)):
            await open_store(tmp_path, sec_id=sec_id)

    await first.close()
    await open_store(tmp_path)


async def test_the_fence_holds_even_if_somebody_removes_the_lock(open_store: OpenStore, tmp_path: Path) -> None:
    first = await open_store(tmp_path)
    claim, other = await create(first, "s-1"), await create(first, "s-2")
    (tmp_path / LOCK).unlink()
    second = await open_store(tmp_path)

    results = await first.commit([append(claim, 2), finish(other, 2), new_saga("s-3")])

    assert [result.status for result in results] == [Status.FENCED] * 3
    assert list(await first.adopt(await first.list_owned())) == [None, None]
    (adopted,) = await second.adopt([await owned(second, "s-1")])
    assert adopted is not None
    await write_all(second, [append(adopted, 2)])


async def test_a_directory_of_a_newer_release_is_refused_and_left_as_it_is(
    open_store: OpenStore, tmp_path: Path
) -> None:
    await (await open_store(tmp_path)).close()
    connection = sqlite3.connect(tmp_path / DATABASE)
    connection.execute("UPDATE schema_version SET version = 99")
    connection.commit()
    connection.close()

    with pytest.raises(StoreError, match="version 99"):
        await open_store(tmp_path)
    with pytest.raises(StoreError, match="version 99"):  # and the lock is free again
        await open_store(tmp_path)


async def test_a_directory_of_an_earlier_release_is_brought_up_to_date(open_store: OpenStore, tmp_path: Path) -> None:
    connection = sqlite_store.connect(tmp_path / DATABASE)
    for statement in VERSIONS[0].split(";"):
        connection.execute(statement)
    connection.execute("INSERT INTO schema_version VALUES (1)")
    connection.execute("UPDATE counters SET value = 1")
    connection.execute("INSERT INTO secs VALUES ('sec-a', 1, 'host:7433', '1')")
    connection.execute("INSERT INTO records VALUES ('s-1', 'trip', 0.0, x'00')")
    connection.execute("INSERT INTO owners VALUES ('s-1', 'sec-a', 1, 1, 1)")
    connection.close()

    store = await open_store(tmp_path)

    (claim,) = await store.adopt(await store.list_owned())
    assert claim is not None
    await write_all(store, [append(claim, 2)])
    await store.register(draining=True)
    cluster_id = store.cluster_id
    await store.close()
    again = await open_store(tmp_path)
    assert again.cluster_id == cluster_id != ""
    assert len(await batches(again, "s-1")) == 1


async def test_what_is_no_directory_and_no_database_is_an_error(open_store: OpenStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="can't be used"):
        await open_store(tmp_path / "file")

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / DATABASE).write_bytes(b"something else" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        await open_store(tmp_path / "other")


async def test_a_commit_on_a_hanging_disk_is_unknown_and_recognised_when_it_answers(
    open_store: OpenStore, tmp_path: Path
) -> None:
    store = await open_store(tmp_path, commit_seconds=0.2)
    claim = await create(store, "s-1")
    one = append(claim, 2)
    SlowDisk.answers.clear()

    for _ in range(2):
        result = await write(store, one)
        assert (result.status, "did not answer" in result.error) == (Status.UNKNOWN, True)
    with pytest.raises(StoreError, match="did not answer"):
        await store.adopt([])

    SlowDisk.answers.set()
    async with asyncio.timeout(10):
        while (result := await write(store, one)).status is Status.UNKNOWN:
            pass
    assert result.status is Status.DONE
    assert (await batches(store, "s-1"))[1:] == [one.batch]


async def test_what_a_hanging_disk_did_in_the_end_is_told_to_the_watches(open_store: OpenStore, tmp_path: Path) -> None:
    """Though the commit was given up long before."""
    store = await open_store(tmp_path, commit_seconds=0.2)
    claim = await create(store, "s-1")
    await store.put_control("s-1", "01", b"x")
    one = msgspec.structs.replace(append(claim, 2), consumes=("01",))
    async with watching(store) as watch, watching_log(store, "s-1", 2) as log:
        following = asyncio.create_task(batches_of(log, 1))
        SlowDisk.answers.clear()
        assert (await write(store, one)).status is Status.UNKNOWN
        SlowDisk.answers.set()
        assert await watch.next() == ControlGone("s-1", "01")
        assert await following == [one.batch]


async def test_the_log_is_moved_into_the_database_before_it_grows_large(open_store: OpenStore, tmp_path: Path) -> None:
    store = await open_store(tmp_path)
    claim = await create(store, "s-1")
    for seq in range(2, 50):
        await write_all(store, [append(claim, seq, filler=1_000_000)])

    assert (tmp_path / f"{DATABASE}-wal").stat().st_size < 24 * 1024 * 1024
    await store.close()
    assert not (tmp_path / f"{DATABASE}-wal").exists()


WRITER = """
import asyncio, sys
from pathlib import Path
from sagaline_server.store.sqlite import SqliteStore
from tests.contracts.sagas import append, create, write_all

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.open(sec_id="sec-a", address="", version="1")
    claim = await create(store, "s-1")
    for seq in range(2, 100_000):
        await write_all(store, [append(claim, seq)])
        print(seq, file=sys.stderr, flush=True)

asyncio.run(main())
"""


async def test_what_was_done_survives_that_the_process_is_killed(open_store: OpenStore, tmp_path: Path) -> None:
    """And the directory is free at once."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WRITER, str(tmp_path)), cwd=ROOT, stdout=DEVNULL, stderr=PIPE
    )
    assert process.stderr is not None
    acknowledged = 0
    while acknowledged < 50:
        acknowledged = int(await process.stderr.readline())
    with pytest.raises(SecNameTaken):
        await open_store(tmp_path)
    process.kill()
    lines = (await process.stderr.read()).splitlines(keepends=True)
    await process.wait()
    acknowledged = max([acknowledged, *(int(line) for line in lines if line.endswith(b"\n"))])

    store = await open_store(tmp_path)
    assert len(await batches(store, "s-1")) >= acknowledged
    (claim,) = await store.adopt(await store.list_owned())
    assert claim is not None
    await write_all(store, [append(claim, 100_000)])
