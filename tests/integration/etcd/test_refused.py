"""A SEC whose etcd was restored under it serves nothing, says why and what to do, and stays so till restarted."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sagaline.v1 import saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline.v1.saga_service_pb2_grpc import SagaServiceStub
from tests.etcd_server import EtcdServer
from tests.integration.etcd.backups import Backups
from tests.integration.secs import ANY_PORT, SERVER, LoggedProcess, started
from tests.processes import free_port

pytestmark = pytest.mark.etcd

SECONDS = 30.0


def a_saga(saga_id: str) -> pb.CreateSagaRequest:
    spec = saga_pb2.SagaSpec(saga_id=saga_id)
    spec.params.json = "{}"
    spec.graph.name = "one"
    spec.graph.nodes.add(name="only").action.action = "an.action"
    return pb.CreateSagaRequest(saga=spec)


def sec(etcd: EtcdServer, metrics_port: int) -> AbstractAsyncContextManager[LoggedProcess]:
    where = ["--store", "etcd", "--etcd-endpoints", etcd.endpoint, "--listen", ANY_PORT, "--lease-ttl", "60"]
    metrics = f"127.0.0.1:{metrics_port}"
    return started(*SERVER, *where, "--sec-id", "sec-a", "--metrics-listen", metrics)


async def refused_gauge(port: int) -> str:
    def read() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SECONDS) as response:
            text: str = response.read().decode()
        return next(line for line in text.splitlines() if line.startswith("sagaline_store_refused "))

    return (await asyncio.to_thread(read)).split()[1]


async def test_a_sec_whose_store_went_back_serves_nothing_until_it_is_restarted(
    own_etcd: Callable[..., EtcdServer], tmp_path: Path
) -> None:
    etcd = own_etcd()
    backups, port = Backups(etcd, tmp_path), free_port()
    async with sec(etcd, port) as process, grpc.aio.insecure_channel(await process.address()) as channel:
        sagas, health = SagaServiceStub(channel), health_pb2_grpc.HealthStub(channel)
        await sagas.CreateSaga(a_saga("before"), timeout=SECONDS)
        backups.make()
        for number in range(5):
            await sagas.CreateSaga(a_saga(f"after-{number}"), timeout=SECONDS, wait_for_ready=True)
        watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=SECONDS)
        backups.restore()

        told = await process.logged("store_refused")
        assert "Stop every SEC" in told["error"]
        async for state in watch:
            if state.status == health_pb2.HealthCheckResponse.NOT_SERVING:
                break
        for ask in (sagas.CreateSaga(a_saga("late")), sagas.GetSaga(pb.GetSagaRequest(saga_id="before"))):
            with pytest.raises(grpc.aio.AioRpcError) as refusal:
                await ask
            assert refusal.value.code() is grpc.StatusCode.UNAVAILABLE
        assert await refused_gauge(port) == "1.0"
        assert [line["event"] for line in process.lines].count("store_refused") == 1
    async with sec(etcd, port) as process, grpc.aio.insecure_channel(await process.address()) as channel:
        sagas = SagaServiceStub(channel)
        await sagas.GetSaga(pb.GetSagaRequest(saga_id="before"), timeout=SECONDS)
        with pytest.raises(grpc.aio.AioRpcError) as missing:
            await sagas.GetSaga(pb.GetSagaRequest(saga_id="after-0"), timeout=SECONDS)
        assert missing.value.code() is grpc.StatusCode.NOT_FOUND
        assert await refused_gauge(port) == "0.0"
