"""The store on SQLite: one process, one data directory, no other server.

One thread writes, one transaction for each `commit`, and another reads, each
with a connection of its own (WAL lets them go on side by side). The directory
belongs to one process at a time, which a lock on a file in it says; so the
incarnation can't be lost, and `serving_until` has no bound.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import structlog

from sagaline_server.ports.cluster import StoredControl
from sagaline_server.ports.store import (
    Claim,
    ListQuery,
    OwnedSaga,
    SecNameTaken,
    SecRecord,
    Status,
    StoredHead,
    StoredSaga,
    StoreError,
    Write,
    WriteResult,
)
from sagaline_server.store import sqlite_tables
from sagaline_server.store.checks import (
    check_control_id,
    check_limit,
    check_saga_id,
    check_sagas,
    check_writes,
    refuse_problems,
)

T = TypeVar("T")

DATABASE = "sagaline.db"
LOCK = "lock"

COMMIT_SECONDS = 10.0
"""After this a commit is of unknown outcome. The disk may still carry it out."""
READ_SECONDS = 30.0
CLOSE_SECONDS = 10.0
JOBS_WAITING_MAX = 64
"""Calls that one thread has before it; more wait in their callers."""

CHECKPOINT_PAGES = 4000
"""16 MiB of log before a commit moves it into the database: rarely enough for its syncs not to be felt."""
LOG_BYTES_KEPT = 64 * 1024 * 1024
CACHE_KIB = 64 * 1024

log = structlog.get_logger(__name__)


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Connect so that what is committed survives a loss of power."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=5.0, factory=factory)
    for pragma in (
        "journal_mode = WAL",
        "synchronous = FULL",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {LOG_BYTES_KEPT}",
        f"cache_size = -{CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


class SqliteStore:
    """`SagaStore` in a directory.

    Args:
        directory: Made where it is missing.
        connect: How to connect to the database file; tests make disks fail here.
        commit_seconds: Deadline of everything that writes.
    """

    def __init__(
        self,
        directory: Path,
        *,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        commit_seconds: float = COMMIT_SECONDS,
    ) -> None:
        self._directory = directory
        self._connect = connect
        self._commit_seconds = commit_seconds
        self._lock: int | None = None
        self._writer: _Thread | None = None
        self._reader: _Thread | None = None
        self._sec_id = ""
        self._incarnation = 0

    async def open(self, *, sec_id: str, address: str, version: str) -> int:
        if self._writer is None:
            await self._take()
        incarnation = await self._write(sqlite_tables.register, sec_id, address, version)
        self._sec_id, self._incarnation = sec_id, incarnation
        log.info("store_opened", store="sqlite", sec_id=sec_id, incarnation=incarnation)
        return incarnation

    async def _take(self) -> None:
        """Take the directory and make the database ready."""
        try:
            self._lock = await asyncio.to_thread(take_directory, self._directory)
            self._writer = _Thread("sagaline-store-writer", self._open_connection)
            self._reader = _Thread("sagaline-store-reader", self._open_connection)
            await self._write(sqlite_tables.prepare)
        except BaseException:
            await self._release()
            raise

    async def close(self) -> None:
        if self._writer is not None:
            try:
                await self._write(sqlite_tables.unregister, self._incarnation)
            except StoreError as error:
                # Nothing is lost by it: whoever opens the directory next replaces the incarnation.
                log.warning("store_close_failed", store="sqlite", error=str(error))
        await self._release()

    @property
    def incarnation(self) -> int:
        return self._incarnation

    @property
    def serving_until(self) -> float | None:
        return None if self._writer is not None else 0.0

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        if not writes:
            return []
        try:
            results, problems = await self._write(self._commit, writes)
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]
        refuse_problems(problems)
        return results

    async def read(self, saga_id: str) -> StoredSaga | None:
        return await self._read(sqlite_tables.read, saga_id)

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        check_limit(query.limit)
        return await self._read(sqlite_tables.list_heads, query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        return await self._read(sqlite_tables.list_owned)

    async def list_secs(self) -> Sequence[SecRecord]:
        return await self._read(sqlite_tables.list_secs)

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        check_saga_id(saga_id)
        check_control_id(control_id)
        return await self._write(sqlite_tables.put_control, saga_id, control_id, control)

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        return await self._read(sqlite_tables.list_controls, saga_id)

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        return await self._write(sqlite_tables.adopt, self._sec_id, self._incarnation, sagas)

    async def remove_finished(self, saga_ids: Sequence[str], *, keep_summary: bool) -> None:
        await self._write(partial(sqlite_tables.remove_finished, keep_summary=keep_summary), saga_ids)

    def _commit(self, connection: sqlite3.Connection, writes: Sequence[Write]) -> tuple[list[WriteResult], list[str]]:
        transaction = sqlite_tables.WriteTransaction(connection, self._sec_id, self._incarnation)
        return transaction.run(writes), transaction.problems

    def _open_connection(self) -> sqlite3.Connection:
        return self._connect(self._directory / DATABASE)

    async def _write(self, function: Callable[..., T], *arguments: object) -> T:
        if self._writer is None:
            raise StoreError("the store is closed")
        return await self._writer.run(self._commit_seconds, function, *arguments)

    async def _read(self, function: Callable[..., T], *arguments: object) -> T:
        if self._reader is None:
            raise StoreError("the store is closed")
        return await self._reader.run(READ_SECONDS, function, *arguments)

    async def _release(self) -> None:
        reader, writer, lock = self._reader, self._writer, self._lock
        self._reader = self._writer = self._lock = None
        for thread in (reader, writer):
            if thread is not None:
                await thread.close()
        if lock is not None:
            os.close(lock)


class _Thread:
    """A thread with a database connection, and a bounded number of calls before it."""

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._slots = asyncio.Semaphore(JOBS_WAITING_MAX)

    async def run(self, seconds: float, function: Callable[..., T], *arguments: object) -> T:
        """Call `function` in the thread, with the connection.

        Raises:
            StoreError: It failed, or did not end in time; then it may still be carried out.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
                job = asyncio.get_running_loop().run_in_executor(self._executor, self._call, function, arguments)
                job.add_done_callback(self._ended)
                return await asyncio.shield(job)
        except TimeoutError as error:
            raise StoreError(f"the database did not answer in {seconds:g} s") from error
        except sqlite3.Error as error:
            raise StoreError(f"the database failed: {error}") from error

    def _call(self, function: Callable[..., T], arguments: Sequence[object]) -> T:
        if self._connection is None:
            self._connection = self._connect()
        return function(self._connection, *arguments)

    def _ended(self, job: asyncio.Future[T]) -> None:
        self._slots.release()
        if not job.cancelled():
            job.exception()  # its caller may have stopped waiting

    async def close(self) -> None:
        """Let the calls before it end, and close the connection. A disk that hangs is not waited for."""
        job = asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        ended, _ = await asyncio.wait([job], timeout=CLOSE_SECONDS)
        if not ended:
            log.warning("store_close_hangs", store="sqlite")
        self._executor.shutdown(wait=False)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def take_directory(directory: Path) -> int:
    """Make the directory if need be, and take it for this process.

    Returns:
        The descriptor of the lock file; closing it lets the directory go, and so does the end of the process.

    Raises:
        SecNameTaken: Another process has it.
        StoreError: It can't be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _sync_directory(directory.parent)
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        _sync_directory(directory)
    except OSError as error:
        raise StoreError(f"the data directory can't be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise SecNameTaken(f"another live process uses the data directory {directory}") from None
    except OSError as error:
        os.close(descriptor)
        raise StoreError(f"the data directory can't be locked: {error}") from error
    return descriptor


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
