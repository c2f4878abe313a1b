"""Two processes that go by one name do not take it from each other for ever: the younger one has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.etcd_server import EtcdServer
from tests.integration.secs import ANY_PORT, SERVER, started

pytestmark = pytest.mark.etcd


async def test_the_older_of_two_ends_and_says_why(etcd_server: EtcdServer, prefix: str, tmp_path: Path) -> None:
    """As it is with two SECs on one machine that were given no `sec_id`."""
    command = (*SERVER, "--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", prefix)
    same = (*command, "--listen", ANY_PORT, "--sec-id", "twin")
    async with started(*same, directory=tmp_path) as older:
        await older.address()
        async with started(*same, directory=tmp_path) as younger:
            address = await younger.address()
            assert await older.ended() == 2
            (words,) = [line for line in older.words if line.startswith("sagaline server: ")]
            assert f"a younger process, at {address}, goes by the name of this SEC, twin" in words
            assert "sec_id" in words
            assert not [line for line in younger.lines if line["event"] == "incarnation_lost"]
