"""An archive in a directory: one compressed file a saga, by the day on which it ended.

    <directory>/2026-11-24/<saga>.<digest>.jsonl.gz

The digest is of the content: the same saga archived twice is one file, whoever
archived it, and another saga of the same id is another file.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from sagaline_server.ports.archive import ArchivedSaga, ArchiveError

SUFFIX = ".jsonl.gz"
_DIGEST_CHARS = 16


class DirectoryArchive:
    """`Archive` in a directory, which several SECs may share.

    Args:
        directory: Made where it is missing.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, sagas: Sequence[ArchivedSaga]) -> None:
        try:
            await asyncio.to_thread(self._put, sagas)
        except OSError as error:
            raise ArchiveError(f"{self._directory}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Nothing is held."""

    def _put(self, sagas: Sequence[ArchivedSaga]) -> None:
        days: set[Path] = set()
        for saga in sagas:
            day = self._directory / datetime.fromtimestamp(saga.ended, UTC).strftime("%Y-%m-%d")
            day.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256(saga.dump).hexdigest()[:_DIGEST_CHARS]
            _write(day / f"{saga.saga_id}.{digest}{SUFFIX}", saga.dump)
            days.add(day)
        for directory in [*sorted(days), self._directory]:
            _sync(directory)


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _sync(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
