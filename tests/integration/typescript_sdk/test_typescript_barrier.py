"""The TypeScript SDK's barrier against a real PostgreSQL; its own tests, which are told where that is."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.postgres_server import PostgresServer

PACKAGE = Path(__file__).resolve().parents[3] / "sdk/typescript"
RUN_SECONDS = 240

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="no Node on this machine")


@pytest.mark.postgres
def test_the_barrier_keeps_its_promises_on_postgresql(postgres_server: PostgresServer) -> None:
    subprocess.run(["python3", "scripts/ts_protos.py"], cwd=PACKAGE.parents[1], check=True)
    subprocess.run(["npx", "tsc", "-p", "tsconfig.json"], cwd=PACKAGE, check=True, timeout=RUN_SECONDS)
    done = subprocess.run(
        ["node", "--enable-source-maps", "--test", "build/tests/barrier.test.js"],
        cwd=PACKAGE,
        env={**os.environ, **postgres_server.environment},
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "# skipped 0" in done.stdout
