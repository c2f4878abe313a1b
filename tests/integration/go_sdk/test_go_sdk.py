"""The Go SDK against a real SEC: the tests of sdk/go that need one, and the machine's own."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.secs import run, started

SDK = Path(__file__).resolve().parents[3] / "sdk/go"

pytestmark = pytest.mark.skipif(shutil.which("go") is None, reason="NOT TESTED: there is no Go on this machine")


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where a SEC serves."""
    async with started("bash", "-c", "exec sagaline dev --listen 127.0.0.1:0", directory=tmp_path) as dev:
        yield await dev.address()


async def test_sagas_run_and_unwind(address: str) -> None:
    code, said, problems = await run(
        "go",
        "test",
        "-count=1",
        "-timeout=60s",
        ".",
        environment={"SAGALINE_SEC": address},
        directory=SDK,
        seconds=600.0,
    )
    assert code == 0, said + problems
