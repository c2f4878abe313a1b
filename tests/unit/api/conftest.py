"""A real gRPC server with the services of the api on it, over a runtime in memory."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import grpc
import pytest
from prometheus_client import CollectorRegistry

from sagaline.v1.admin_service_pb2_grpc import AdminServiceStub
from sagaline.v1.saga_service_pb2_grpc import SagaServiceStub
from sagaline_server.api.health import Health
from sagaline_server.api.open_calls import OpenCalls
from sagaline_server.api.registration import add_services, interceptors
from tests.unit.api.fake_runtime import FakeRuntime, ManualClock

if TYPE_CHECKING:
    from sagaline.v1.admin_service_pb2_grpc import AdminServiceAsyncStub
    from sagaline.v1.saga_service_pb2_grpc import SagaServiceAsyncStub


def counting_bytes() -> Callable[[int], bytes]:
    """Return a source of bytes that never repeat, and can be foretold."""
    count = itertools.count(1)
    return lambda size: next(count).to_bytes(size, "big")


@dataclass
class Served:
    """A server and what a test needs of it."""

    runtime: FakeRuntime
    clock: ManualClock
    registry: CollectorRegistry
    health: Health
    calls: OpenCalls
    address: str
    channel: grpc.aio.Channel = field(repr=False)
    sagas: SagaServiceAsyncStub = field(repr=False)
    admin: AdminServiceAsyncStub = field(repr=False)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    clock = ManualClock()
    runtime = FakeRuntime(clock)
    registry = CollectorRegistry()
    random = counting_bytes()
    calls = OpenCalls()
    server = grpc.aio.server(
        interceptors=interceptors(registry, clock, random, unary_deadline=1.0, calls=calls),
        options=[("grpc.so_reuseport", 0)],
    )
    health = await add_services(server, runtime, clock, random, fault_injection=True)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    address = f"127.0.0.1:{port}"
    async with grpc.aio.insecure_channel(address) as channel:
        sagas, admin = SagaServiceStub(channel), AdminServiceStub(channel)
        yield Served(runtime, clock, registry, health, calls, address, channel, sagas, admin)
    await server.stop(None)
