"""The store on SQLite: one process, one data directory, no other server.

One thread writes, one transaction for each `commit`, and another reads, each
with a connection of its own (WAL lets them go on side by side). The directory
belongs to one process at a time, which a lock on a file in it says; so the
incarnation can't be lost, and `serving_until` has no bound. Watches are told
in this process what its own writes changed: nobody else writes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import structlog

from sagaline_server.ports.cluster import (
    RELIST_SECONDS,
    ClusterEvent,
    HandOff,
    HandOffFate,
    LogPart,
    StoredCondition,
    StoredControl,
)
from sagaline_server.ports.store import (
    Claim,
    ListQuery,
    OwnedSaga,
    Pace,
    SecNameTaken,
    SecRecord,
    Status,
    StoredHead,
    StoredSaga,
    StoreError,
    Write,
    WriteResult,
)
from sagaline_server.store import sqlite_conditions, sqlite_schema, sqlite_tables
from sagaline_server.store.checks import (
    check_control_id,
    check_hand_offs,
    check_limit,
    check_log_range,
    check_saga_id,
    check_sagas,
    check_subject,
    check_writes,
    refuse_problems,
)
from sagaline_server.store.feed import LocalFeed, LocalWatches
from sagaline_server.store.log_tail import BATCHES_PER_PAGE, LogTail
from sagaline_server.store.sqlite_tables import Written
from sagaline_server.store.sqlite_thread import DatabaseThread

T = TypeVar("T")

DATABASE = "sagaline.db"
LOCK = "lock"

COMMIT_SECONDS = 10.0
"""After this a commit is of unknown outcome. The disk may still carry it out."""
READ_SECONDS = 30.0
PACE = Pace(at_once=4, full=64)
"""One commit for the disk, and the next ones ready: it begins without having asked the event loop."""

CHECKPOINT_PAGES = 4000
"""16 MiB of log before a commit moves it into the database: rarely enough for its syncs not to be felt."""
LOG_BYTES_KEPT = 64 * 1024 * 1024
CACHE_KIB = 16 * 1024
"""Of each connection. What more would hold is in the operating system's cache as well, once for all processes."""

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
    """`ClusterStore` of one SEC, in a directory.

    Args:
        directory: Made where it is missing.
        connect: How to connect to the database file; tests make disks fail here.
        commit_seconds: Deadline of everything that writes.
        relist_seconds: Longest time between two Resyncs of a watch.
    """

    def __init__(
        self,
        directory: Path,
        *,
        connect: Callable[[Path], sqlite3.Connection] = connect,
        commit_seconds: float = COMMIT_SECONDS,
        relist_seconds: float = RELIST_SECONDS,
    ) -> None:
        self._directory = directory
        self._connect = connect
        self._commit_seconds = commit_seconds
        self._relist_seconds = relist_seconds
        self._lock: int | None = None
        self._writer: DatabaseThread | None = None
        self._reader: DatabaseThread | None = None
        self._feed = LocalFeed()
        self._watches: LocalWatches | None = None
        self._sec_id = ""
        self._incarnation = 0
        self._cluster_id = ""
        self._revision = 0

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
            self._writer = DatabaseThread("sagaline-store-writer", self._open_connection)
            self._reader = DatabaseThread("sagaline-store-reader", self._open_connection)
            self._cluster_id = await self._writer.run(self._commit_seconds, sqlite_schema.prepare)
            self._watches = LocalWatches(self._feed, self._relist_seconds)
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
    def pace(self) -> Pace:
        return PACE

    @property
    def serving_until(self) -> float | None:
        return None if self._writer is not None else 0.0

    @property
    def cluster_id(self) -> str:
        return self._cluster_id

    @property
    def revision(self) -> int:
        return self._revision

    async def register(self, *, draining: bool) -> None:
        if not await self._write(sqlite_tables.change, self._incarnation, draining):
            raise StoreError("the incarnation is dead")

    async def commit(self, writes: Sequence[Write]) -> Sequence[WriteResult]:
        check_writes(writes)
        if not writes:
            return []
        problems: dict[str, str] = {}
        try:
            results = await self._write(self._commit, writes, problems)
        except StoreError as error:
            return [WriteResult(Status.UNKNOWN, error=str(error)) for _ in writes]
        refuse_problems(problems)
        return results

    async def read(self, saga_id: str) -> StoredSaga | None:
        return await self._read(sqlite_tables.read, saga_id)

    async def read_many(self, saga_ids: Sequence[str]) -> Sequence[StoredSaga | None]:
        return await self._read(sqlite_tables.read_many, saga_ids)

    async def read_log(self, saga_id: str, from_seq: int, limit_batches: int) -> Sequence[bytes]:
        check_log_range(saga_id, from_seq, limit_batches)
        tail = await self._read(sqlite_tables.read_tail, saga_id, from_seq, limit_batches)
        return () if tail is None else tail.batches

    async def list_heads(self, query: ListQuery) -> Sequence[StoredHead]:
        check_limit(query.limit)
        return await self._read(sqlite_tables.list_heads, query)

    async def list_owned(self) -> Sequence[OwnedSaga]:
        return await self._read(sqlite_tables.list_owned)

    async def read_owners(self, saga_ids: Sequence[str]) -> Sequence[OwnedSaga | None]:
        return await self._read(sqlite_tables.read_owners, saga_ids)

    async def list_secs(self) -> Sequence[SecRecord]:
        return await self._read(sqlite_tables.list_secs)

    async def put_control(self, saga_id: str, control_id: str, control: bytes) -> bool:
        check_saga_id(saga_id)
        check_control_id(control_id)
        return await self._write(sqlite_tables.put_control, saga_id, control_id, control)

    async def list_controls(self, saga_id: str | None = None) -> Sequence[StoredControl]:
        return await self._read(sqlite_tables.list_controls, saga_id)

    async def put_condition(self, subject: str, value: bytes) -> None:
        check_subject(subject)
        await self._write(sqlite_conditions.put_condition, subject, value)

    async def list_conditions(self) -> Sequence[StoredCondition]:
        return await self._read(sqlite_conditions.list_conditions)

    async def adopt(self, sagas: Sequence[OwnedSaga]) -> Sequence[Claim | None]:
        check_sagas(sagas)
        return await self._write(sqlite_tables.adopt, self._sec_id, self._incarnation, sagas)

    async def hand_off(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        check_hand_offs(hand_offs, to, self._incarnation)
        return await self._read(sqlite_tables.hand_off, self._sec_id, self._incarnation, hand_offs)

    async def remove_finished(
        self, saga_ids: Sequence[str], *, keep_summary: bool, dones: Mapping[str, bytes] | None = None
    ) -> None:
        await self._write(sqlite_tables.remove_finished, saga_ids, keep_summary, dones)

    async def watch(self) -> AsyncIterator[ClusterEvent]:
        async for event in self._open_watches().events():
            yield event

    async def watch_log(self, saga_id: str, from_seq: int) -> AsyncIterator[LogPart]:
        check_log_range(saga_id, from_seq)
        async for part in self._open_watches().log(self._read_tail, saga_id, from_seq):
            yield part

    def _open_watches(self) -> LocalWatches:
        if self._watches is None:
            raise StoreError("the store is closed")
        return self._watches

    async def _read_tail(self, saga_id: str, from_seq: int) -> LogTail | None:
        return await self._read(sqlite_tables.read_tail, saga_id, from_seq, BATCHES_PER_PAGE)

    def _commit(
        self, connection: sqlite3.Connection, writes: Sequence[Write], problems: dict[str, str]
    ) -> Written[list[WriteResult]]:
        transaction = sqlite_tables.WriteTransaction(connection, self._sec_id, self._incarnation)
        written = transaction.run(writes)
        problems.update(transaction.problems)
        return written

    def _open_connection(self) -> sqlite3.Connection:
        return self._connect(self._directory / DATABASE)

    async def _write(self, function: Callable[..., Written[T]], *arguments: object) -> T:
        if self._writer is None:
            raise StoreError("the store is closed")
        written = await self._writer.run(self._commit_seconds, function, *arguments, on_end=self._tell)
        return written.value

    def _tell(self, written: Written[T] | None) -> None:
        """Tell the watches what a transaction did; of one that failed, it is not known what."""
        if written is None:
            self._feed.tell_lost()
            return
        self._revision = max(self._revision, written.revision)
        for event in written.events:
            self._feed.tell(event)
        for saga_id in written.logs:
            self._feed.tell_log(saga_id)

    async def _read(self, function: Callable[..., T], *arguments: object) -> T:
        if self._reader is None:
            raise StoreError("the store is closed")
        return await self._reader.run(READ_SECONDS, function, *arguments)

    async def _release(self) -> None:
        reader, writer, lock = self._reader, self._writer, self._lock
        self._reader = self._writer = self._lock = None
        watches, self._watches = self._watches, None
        if watches is not None:
            watches.close()
        for thread in (reader, writer):
            if thread is not None:
                await thread.close()
        if lock is not None:
            os.close(lock)


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
