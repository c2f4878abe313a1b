"""Why a saga waits is known to its owner alone; any SEC that is asked asks there."""

from __future__ import annotations

from pathlib import Path

import pytest

from sagaline import GraphBuilder, action
from sagaline.client import Client
from sagaline.v1 import admin_service_pb2
from tests.etcd_server import EtcdServer
from tests.integration.secs import ANY_PORT, SERVER, started

pytestmark = pytest.mark.etcd


@action("nobody.serves.this")
async def greet(name: str) -> str:
    return name


@greet.undo
async def forget(name: str) -> None: ...


async def test_why_a_saga_waits_is_told_by_every_sec(etcd_server: EtcdServer, prefix: str, tmp_path: Path) -> None:
    g = GraphBuilder("greeting", params=str)
    graph = g.build(result=g.add("greet", greet, g.params))
    common = (*SERVER, "--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", prefix)
    first = (*common, "--listen", ANY_PORT, "--sec-id", "a")
    second = (*common, "--listen", ANY_PORT, "--sec-id", "b")
    async with started(*first, directory=tmp_path) as owner, started(*second, directory=tmp_path) as other:
        async with Client(await owner.address()) as client:
            await client.create(graph, "Ann", saga_id="s")
        async with Client(await other.address()) as client:
            (wait,) = (await client.explain("s")).waits
            assert wait.reason == admin_service_pb2.WAIT_REASON_NO_WORKER
            await owner.stop()
            told = await client.explain("s")
            assert not told.waits or told.waits[0] == wait  # it was adopted meanwhile
            assert told.waits or "its owner, SEC a" in told.warnings[0]
