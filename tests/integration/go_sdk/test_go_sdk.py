"""The Go SDK against a real SEC, and its barrier in a real PostgreSQL: the tests of its modules that need one."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.secs import ANY_PORT, SERVER, run, started
from tests.integration.tls.test_access import Guarded, guarded
from tests.postgres_server import PostgresServer, postgres_server
from tests.processes import free_port

__all__ = ["guarded", "postgres_server"]

ROOT = Path(__file__).resolve().parents[3]
TEST = ("go", "test", "-count=1", "-timeout=300s", ".")
SECONDS = 600.0
"""The first time everything is compiled."""

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="NOT TESTED: there is no Go on this machine")


@pytest.fixture
async def sec(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Where a SEC serves, and where its metrics, as variables of the tests."""
    metrics = f"127.0.0.1:{free_port()}"
    given = ("--listen", ANY_PORT, "--metrics-listen", metrics, "--data-dir", str(tmp_path))
    async with started(*SERVER, *given) as process:
        yield {"SAGALINE_SEC": await process.address(), "SAGALINE_METRICS": metrics}


async def test_the_sdk_against_a_sec(sec: dict[str, str]) -> None:
    code, said, problems = await run(*TEST, environment=sec, directory=ROOT / "sdk/go", seconds=SECONDS)
    assert code == 0, said + problems


async def test_a_token_lets_in_and_a_wrong_one_does_not(guarded: Guarded) -> None:
    variables = {"SAGALINE_GUARDED_SEC": guarded.address, "SAGALINE_CA": guarded.path("ca.pem")}
    only = ("-v", "-run", "TestATokenLetsInAndAWrongOneDoesNot")
    code, said, problems = await run(*TEST, *only, environment=variables, directory=ROOT / "sdk/go", seconds=SECONDS)
    assert (code, "--- PASS: TestATokenLetsIn" in said) == (0, True), said + problems


async def test_the_hotel_is_booked_once_in_postgres(postgres_server: PostgresServer) -> None:
    code, said, problems = await run(
        *TEST, environment=postgres_server.environment, directory=ROOT / "workers/go", seconds=SECONDS
    )
    assert code == 0, said + problems
