"""An archive in PostgreSQL: one row a saga, in a table that is made where it is missing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

import psycopg

from sagaline_server.ports.archive import ArchivedSaga, ArchiveError

TIMEOUT_SECONDS = 30.0

_TABLE = """
CREATE TABLE IF NOT EXISTS sagaline_archive (
    saga_id text NOT NULL, digest bytea NOT NULL, ended timestamptz NOT NULL, dump bytea NOT NULL,
    PRIMARY KEY (saga_id, digest)
)"""
_INSERT = "INSERT INTO sagaline_archive VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING"


class PostgresArchive:
    """`Archive` in a table, which several SECs may share. The digest, of the content, makes it idempotent.

    A connection is made for each `put`: they are minutes apart.

    Args:
        url: As libpq takes it: postgresql://…
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._has_table = False

    async def put(self, sagas: Sequence[ArchivedSaga]) -> None:
        rows = [
            (saga.saga_id, hashlib.sha256(saga.dump).digest(), datetime.fromtimestamp(saga.ended, UTC), saga.dump)
            for saga in sagas
        ]
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                # Left without an exception, the connection commits: then the rows are durable.
                async with await psycopg.AsyncConnection.connect(self._url) as connection:
                    await connection.execute("SET LOCAL synchronous_commit = on")
                    if not self._has_table:
                        await connection.execute(_TABLE)
                    for row in rows:
                        await connection.execute(_INSERT, row)
        except (psycopg.Error, TimeoutError, OSError) as error:
            # The error's own words may name the database's address, never the password.
            raise ArchiveError(f"PostgreSQL: {type(error).__name__}: {error}") from error
        self._has_table = True

    async def close(self) -> None:
        """Nothing is held."""
