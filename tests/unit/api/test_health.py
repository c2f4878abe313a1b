"""The standard health service tells readiness, as a whole and by service."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.unit.api.conftest import Served
from tests.unit.api.refusals import refused

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.mark.parametrize("service", ["", "sagaline.v1.SagaService", "sagaline.v1.AdminService"])
async def test_health_follows_what_it_is_told(served: Served, service: str) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    request = health_pb2.HealthCheckRequest(service=service)
    assert (await stub.Check(request)).status == NOT_SERVING, "not before it is told so"
    for serving in (True, False, True):
        await served.health.set_serving(serving=serving)
        assert (await stub.Check(request)).status == (SERVING if serving else NOT_SERVING)


async def test_a_watch_of_health_tells_each_change(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    stream = stub.Watch(health_pb2.HealthCheckRequest())
    async with asyncio.timeout(10):
        assert (await stream.read()).status == NOT_SERVING
        await served.health.set_serving(serving=True)
        assert (await stream.read()).status == SERVING
    stream.cancel()


async def test_the_health_of_what_is_not_there(served: Served) -> None:
    stub = health_pb2_grpc.HealthStub(served.channel)
    told = await refused(stub.Check(health_pb2.HealthCheckRequest(service="other")))
    assert told.code is grpc.StatusCode.NOT_FOUND
