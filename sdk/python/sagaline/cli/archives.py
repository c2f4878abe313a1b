"""Reads what SECs put into their archive: a directory, or a table of PostgreSQL."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf import json_format

from sagaline.cli.exits import UnusableInput
from sagaline.v1 import log_pb2

GZIP = b"\x1f\x8b"
_NEWEST = "SELECT dump FROM sagaline_archive WHERE saga_id = %s ORDER BY ended DESC LIMIT 1"


def archived_lines(where: str, saga_id: str) -> list[str]:
    """Return the dump of the archived saga of an id; of several, the one that ended last.

    Raises:
        UnusableInput: There is none, or the archive cannot be read.
    """
    is_postgres = where.startswith(("postgresql://", "postgres://"))
    dump = _from_postgres(where, saga_id) if is_postgres else _from_directory(Path(where), saga_id)
    if dump is None:
        raise UnusableInput(f"the archive has no saga {saga_id}")
    return unpacked(dump, saga_id).split("\n")


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


def _from_directory(directory: Path, saga_id: str) -> bytes | None:
    if not directory.is_dir():
        raise UnusableInput(f"{directory} is no directory")
    # The digest has no dot, so that "a" is not found where "a.b" is meant.
    found = [
        path
        for path in directory.glob("*/*.jsonl.gz")
        if path.name.removesuffix(".jsonl.gz").rpartition(".")[0] == saga_id
    ]
    newest = max(found, key=lambda path: (path.parent.name, path.stat().st_mtime), default=None)
    return None if newest is None else newest.read_bytes()


def _from_postgres(url: str, saga_id: str) -> bytes | None:
    try:
        import psycopg
    except ImportError as error:
        raise UnusableInput(f"PostgreSQL needs psycopg: install sagaline[postgres] ({error})") from error
    try:
        with psycopg.connect(url) as connection:
            row = connection.execute(_NEWEST, (saga_id,)).fetchone()
    except psycopg.Error as error:
        raise UnusableInput(f"PostgreSQL: {error}") from error
    return None if row is None else bytes(row[0])
