"""Puts the services of the api on a server."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
from grpc_channelz.v1.channelz import add_channelz_servicer
from prometheus_client import CollectorRegistry

from sagaline.v1 import admin_service_pb2_grpc, saga_service_pb2_grpc
from sagaline_server.api.access import AccessGuard
from sagaline_server.api.admin_service import AdminService
from sagaline_server.api.guards import UNARY_DEADLINE, Guard
from sagaline_server.api.health import Health
from sagaline_server.api.ids import RandomBytes
from sagaline_server.api.metrics import CallMetrics
from sagaline_server.api.open_calls import OpenCalls
from sagaline_server.api.reflection import add_reflection
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.api.saga_service import SagaService
from sagaline_server.ports.clock import Clock
from sagaline_server.runtime.access import Access

SAGA_SERVICE = "sagaline.v1.SagaService"
ADMIN_SERVICE = "sagaline.v1.AdminService"
HEALTH_SERVICE = "grpc.health.v1.Health"
CHANNELZ_SERVICE = "grpc.channelz.v1.Channelz"


def interceptors(
    registry: CollectorRegistry,
    clock: Clock,
    random: RandomBytes,
    unary_deadline: float = UNARY_DEADLINE,
    calls: OpenCalls | None = None,
    access: Access | None = None,
) -> list[grpc.aio.ServerInterceptor]:
    """Return the interceptors that a server of these services must have, outermost first."""
    checked = [] if access is None else [AccessGuard(access)]
    return [CallMetrics(registry, clock.boottime), *checked, Guard(random, unary_deadline, calls)]


async def add_services(
    server: grpc.aio.Server,
    runtime: SagaRuntime,
    clock: Clock,
    random: RandomBytes,
    others: Sequence[str] = (),
    *,
    reflection: bool = True,
    channelz: bool = False,
    fault_injection: bool = False,
) -> Health:
    """Serve SagaService, AdminService, health, and where so wished reflection and channelz.

    Args:
        server: Server that has not started, made with `interceptors`.
        runtime: Where the sagas are.
        clock: Time.
        random: `os.urandom` outside of tests.
        others: Full names of services that others put on the server, for health and reflection.
        fault_injection: Whether clients may make sagas go wrong.
        reflection: Whether clients may ask what is served.
        channelz: Whether clients may ask for the channels and sockets of the process.

    Returns:
        The health, not serving yet.
    """
    sagas = SagaService(runtime, clock, random, fault_injection=fault_injection)
    saga_service_pb2_grpc.add_SagaServiceServicer_to_server(sagas, server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(AdminService(runtime, clock), server)
    services = (SAGA_SERVICE, ADMIN_SERVICE, *others)
    health = Health(services)
    await health.add_to(server)
    if channelz:
        add_channelz_servicer(server)
    if reflection:
        add_reflection(server, (*services, HEALTH_SERVICE, *([CHANNELZ_SERVICE] if channelz else [])))
    return health
