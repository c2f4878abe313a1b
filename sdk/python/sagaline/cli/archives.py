"""Reads what SECs put into their archive: a directory, or a table of PostgreSQL."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format

from sagaline.cli.exits import UnusableInput
from sagaline.v1 import log_pb2, saga_pb2

if TYPE_CHECKING:
    import psycopg

GZIP = b"\x1f\x8b"
_ROWS_AT_ONCE = 100
_SUFFIX = ".jsonl.gz"
_ALL = "SELECT saga_id, dump FROM sagaline_archive ORDER BY ended DESC, saga_id"
_NEWEST = "SELECT dump FROM sagaline_archive WHERE saga_id = %s ORDER BY ended DESC LIMIT 1"


def archived_lines(where: str, saga_id: str) -> list[str]:
    """Return the dump of the archived saga of an id; of several, the one that ended last.

    Raises:
        UnusableInput: There is none, or the archive cannot be read.
    """
    dump = _from_postgres(where, saga_id) if _is_postgres(where) else _from_directory(Path(where), saga_id)
    if dump is None:
        raise UnusableInput(f"the archive has no saga {saga_id}")
    return unpacked(dump, saga_id).split("\n")


def archived_sagas(where: str) -> Iterator[saga_pb2.Saga]:
    """Yield what a SEC would list of each archived saga, those that ended last first.

    Raises:
        UnusableInput: The archive cannot be read.
    """
    dumps = _all_of_postgres(where) if _is_postgres(where) else _all_of_directory(Path(where))
    for name, dump in dumps:
        yield _summary(unpacked(dump, name).split("\n"), name)


def _summary(lines: list[str], name: str) -> saga_pb2.Saga:
    """Return what a log says of its saga in the end, but for the output, which takes the whole machine."""
    saga = saga_pb2.Saga(saga_id=name)
    try:
        record = json_format.ParseDict(json.loads(lines[0])["record"], log_pb2.SagaRecord())
    except (ValueError, TypeError, LookupError, json_format.ParseError) as error:
        raise UnusableInput(f"{name} cannot be read: {error}") from error
    spec = record.spec
    saga.saga_id, saga.graph_name = spec.saga_id, spec.graph.name
    saga.create_time.CopyFrom(record.create_time)
    saga.labels.update(spec.labels)
    saga.scopes.extend(spec.scopes)
    for entry in entries_of(lines[1:]):
        saga.log_length = entry.seq
        _take(saga, entry)
    return saga


def _take(saga: saga_pb2.Saga, entry: log_pb2.LogEntry) -> None:
    match entry.WhichOneof("entry"):
        case "node_failed" if not saga.failed_node:
            saga.failed_node = entry.node_failed.node
            saga.failure.CopyFrom(entry.node_failed.failure)
        case "unwind_requested" if not saga.failed_node:
            is_late = entry.unwind_requested.cause == log_pb2.UNWIND_CAUSE_DEADLINE
            saga.failure.type = "sagaline.DeadlinePassed" if is_late else "sagaline.UnwindRequested"
            saga.failure.message = entry.unwind_requested.reason
        case "saga_finished":
            saga.state = entry.saga_finished.state
            saga.finish_time.CopyFrom(entry.time)
            saga.update_time.CopyFrom(entry.time)
            if saga.state == saga_pb2.SAGA_STATE_SUCCEEDED:
                saga.ClearField("failed_node")  # of elements of maps, which fell by themselves
                saga.ClearField("failure")


def unpacked(dump: bytes, name: str) -> str:
    """Return the text of a dump, which may be compressed.

    Raises:
        UnusableInput: It is no text.
    """
    try:
        return (gzip.decompress(dump) if dump.startswith(GZIP) else dump).decode()
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UnusableInput(f"{name} cannot be read: {error}") from error


def entries_of(lines: list[str]) -> Iterator[log_pb2.LogEntry]:
    """Yield the log entries of a dump.

    Raises:
        UnusableInput: A line is not what it should be.
    """
    for number, line in enumerate(lines, 1):
        try:
            tree = json.loads(line) if line.strip() else {}
            if "entry" in tree:
                yield json_format.ParseDict(tree["entry"], log_pb2.LogEntry())
        except (ValueError, TypeError, json_format.ParseError) as error:
            raise UnusableInput(f"line {number}: {error}") from error


def _is_postgres(where: str) -> bool:
    return where.startswith(("postgresql://", "postgres://"))


def _id_of(path: Path) -> str:
    """Return the saga of a file. The digest has no dot, so that "a" is not found where "a.b" is meant."""
    return path.name.removesuffix(_SUFFIX).rpartition(".")[0]


def _files(directory: Path) -> list[Path]:
    """Return all files of an archive, those of sagas that ended last at the end."""
    if not directory.is_dir():
        raise UnusableInput(f"{directory} is no directory")
    # Within a day, sagas come into the archive in the order in which they ended, about.
    return sorted(directory.glob(f"*/*{_SUFFIX}"), key=lambda path: (path.parent.name, path.stat().st_mtime))


def _from_directory(directory: Path, saga_id: str) -> bytes | None:
    found = [path for path in _files(directory) if _id_of(path) == saga_id]
    return found[-1].read_bytes() if found else None


def _all_of_directory(directory: Path) -> Iterator[tuple[str, bytes]]:
    for path in reversed(_files(directory)):
        try:
            yield _id_of(path), path.read_bytes()
        except OSError as error:
            raise UnusableInput(f"cannot read {path}: {error.strerror or error}") from error


def _connection(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    try:
        import psycopg
    except ImportError as error:
        raise UnusableInput(f"PostgreSQL needs psycopg: install sagaline[postgres] ({error})") from error
    try:
        return psycopg.connect(url)
    except psycopg.Error as error:
        raise UnusableInput(f"PostgreSQL: {error}") from error


def _from_postgres(url: str, saga_id: str) -> bytes | None:
    with _connection(url) as connection, _told():
        row = connection.execute(_NEWEST, (saga_id,)).fetchone()
    return None if row is None else bytes(row[0])


def _all_of_postgres(url: str) -> Iterator[tuple[str, bytes]]:
    # A cursor with a name is the server's: rows come a part at a time.
    with _connection(url) as connection, _told(), connection.cursor("archived") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        for saga_id, dump in cursor.execute(_ALL):
            yield str(saga_id), bytes(dump)


@contextmanager
def _told() -> Iterator[None]:
    import psycopg

    try:
        yield
    except psycopg.Error as error:
        raise UnusableInput(f"PostgreSQL: {error}") from error
