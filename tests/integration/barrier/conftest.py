"""What the barriers' tests share: a real PostgreSQL, and every library before it and before SQLite."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.integration.barrier.faces import POSTGRESQL, SQLITE, Face
from tests.postgres_server import PostgresServer, postgres_server

__all__ = ["postgres_server"]

_numbers = itertools.count(1)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """Connections to it see the tables of this test alone."""
    return postgres_server.new_schema(f"test_{next(_numbers)}")


@pytest.fixture(
    params=[
        *(pytest.param(("sqlite", name), id=f"SQLite, {name}") for name in SQLITE),
        *(
            pytest.param(("postgresql", name), id=f"PostgreSQL, {name}", marks=pytest.mark.postgres)
            for name in POSTGRESQL
        ),
    ]
)
async def face(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Face]:
    """A barrier before an empty table of seats."""
    dialect, library = request.param
    async with AsyncExitStack() as stack:
        if dialect == "sqlite":
            made = SQLITE[library](stack, str(tmp_path / "test.db"))
        else:
            made = POSTGRESQL[library](stack, request.getfixturevalue("postgres_url"))
        await made.create()
        yield made
