"""The Java SDK's barrier in a real PostgreSQL: the tests of its worker that need one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.integration.secs import run
from tests.postgres_server import PostgresServer, postgres_server

__all__ = ["postgres_server"]

ROOT = Path(__file__).resolve().parents[3]
TEST = (
    "mvn",
    "-q",
    "-B",
    "-pl",
    "../../workers/java",
    "-am",
    "-Dtest=PaymentTest",
    "-Dsurefire.failIfNoSpecifiedTests=false",
    "test",
)
SECONDS = 600.0
"""The first time everything is compiled."""

pytestmark = pytest.mark.skipif(shutil.which("mvn") is None, reason="NOT TESTED: there is no Maven on this machine")


@pytest.mark.postgres
@pytest.mark.timeout(SECONDS + 30)
async def test_money_is_taken_once_in_postgres(postgres_server: PostgresServer) -> None:
    code, said, problems = await run(
        *TEST, environment=postgres_server.environment, directory=ROOT / "sdk/java", seconds=SECONDS
    )
    assert code == 0, said + problems
