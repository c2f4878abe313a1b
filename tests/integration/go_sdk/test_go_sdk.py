"""The Go SDK against a real SEC, and its barrier in a real PostgreSQL: the tests of its modules that need one."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.secs import run, started
from tests.postgres_server import PostgresServer, postgres_server

__all__ = ["postgres_server"]

ROOT = Path(__file__).resolve().parents[3]
TEST = ("go", "test", "-count=1", "-timeout=300s", ".")
SECONDS = 600.0
"""The first time everything is compiled."""

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="NOT TESTED: there is no Go on this machine")


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where a SEC serves."""
    async with started("bash", "-c", "exec sagaline dev --listen 127.0.0.1:0", directory=tmp_path) as dev:
        yield await dev.address()


async def test_sagas_run_and_unwind(address: str) -> None:
    code, said, problems = await run(
        *TEST, environment={"SAGALINE_SEC": address}, directory=ROOT / "sdk/go", seconds=SECONDS
    )
    assert code == 0, said + problems


async def test_the_hotel_is_booked_once_in_postgres(postgres_server: PostgresServer) -> None:
    code, said, problems = await run(
        *TEST, environment=postgres_server.environment, directory=ROOT / "workers/go", seconds=SECONDS
    )
    assert code == 0, said + problems
