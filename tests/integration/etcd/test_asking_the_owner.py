"""Why a saga waits is known to its owner alone; any SEC that is asked asks there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import grpc
import pytest

from sagaline import GraphBuilder, action
from sagaline.client import Client
from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2
from sagaline.v1.admin_service_pb2_grpc import AdminServiceStub
from sagaline.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.etcd_server import EtcdServer
from tests.integration.secs import ANY_PORT, SECONDS, SERVER, started

pytestmark = pytest.mark.etcd


@action("nobody.serves.this")
async def greet(name: str) -> str:
    return name


@greet.undo
async def forget(name: str) -> None: ...


async def test_secs_show_each_other_their_token(etcd_server: EtcdServer, prefix: str, tmp_path: Path) -> None:
    digest = hashlib.sha256(b"secret").hexdigest()
    (tmp_path / "access.toml").write_text(f'[[party]]\nname = "secs"\nmay = ["admin"]\ntoken_sha256 = "{digest}"\n')
    (tmp_path / "token").write_text("secret\n")
    common = (*SERVER, "--store", "etcd", "--etcd-endpoints", etcd_server.endpoint, "--etcd-prefix", prefix)
    guarded = (*common, "--listen", ANY_PORT, "--access-file", "access.toml", "--peer-token-file", "token", "--sec-id")
    async with started(*guarded, "a", directory=tmp_path) as owner, started(*guarded, "b", directory=tmp_path) as other:
        shown = (("authorization", "Bearer secret"),)
        graph = saga_pb2.Graph(name="g")
        graph.nodes.add(name="n").action.action = "nobody.serves.this"
        created = saga_service_pb2.CreateSagaRequest(saga=saga_pb2.SagaSpec(saga_id="s", graph=graph))
        async with grpc.aio.insecure_channel(await owner.address()) as channel:
            await SagaServiceStub(channel).CreateSaga(created, metadata=shown, timeout=SECONDS)
        async with grpc.aio.insecure_channel(await other.address()) as channel:
            asked = admin_service_pb2.ExplainSagaRequest(saga_id="s")
            told = await AdminServiceStub(channel).ExplainSaga(asked, metadata=shown, timeout=SECONDS)
    assert [wait.node for wait in told.waits] == ["n"]


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
            assert told.waits or told.warnings  # it may be adopted already
