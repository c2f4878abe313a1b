"""The examples as their page says: a SEC, a worker, something to take, and commands."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.secs import ANY_PORT, CLI, SERVER, run, started

SECONDS = 90.0


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """Where a SEC is, beside a worker of the examples with enough in its inventory."""
    db = ("--db", str(tmp_path / "inventory.db"))
    stock = (sys.executable, "-m", "sagaline_examples.stock", *db, "--sagas", "200")
    worker = (sys.executable, "-m", "sagaline_examples.worker", *db)
    async with started(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data")) as sec:
        assert (await run(*stock, seconds=SECONDS))[0] == 0
        async with started(*worker, "--address", await sec.address()):
            yield await sec.address()


async def sagaline(address: str, *arguments: str) -> str:
    code, out, problem = await run(*CLI, *arguments, "--address", address, seconds=SECONDS)
    assert code == 0, problem
    return out


async def test_a_fleet_is_provisioned(address: str) -> None:
    params = ("--params", '{"name":"web","machines":3}', "-o", "json")
    out = await sagaline(address, "run", "sagaline_examples.provision.fleet:FLEET", *params)
    machines = json.loads(json.loads(out)["output"]["json"])
    assert [machine["name"] for machine in machines] == ["web-0", "web-1", "web-2"]


async def test_a_server_is_retired_when_somebody_has_approved_it(address: str) -> None:
    params = ("--params", '{"server":"b/rack-1"}', "--id", "retire-1")
    await sagaline(address, "create", "sagaline_examples.retire.graph:RETIRE", *params)
    await sagaline(address, "signal", "retire-1", "approved", "--json", '{"granted":true,"by":"ann"}')
    out = await sagaline(address, "wait", "retire-1", "-o", "json")
    assert json.loads(json.loads(out)["output"]["json"]) == {"server": "b/rack-1", "cores": 2, "approved_by": "ann"}
