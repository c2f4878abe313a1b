"""The standard health service: readiness, of the whole SEC and of each of its services alike."""

from __future__ import annotations

from collections.abc import Iterable

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc


class Health:
    """Health of a SEC. It is not serving until it is told so."""

    def __init__(self, services: Iterable[str]) -> None:
        """Make the health of services, given by their full names; "" is the SEC itself."""
        self._names = ("", *services)
        self._servicer = health.aio.HealthServicer()
        self.is_serving = False

    async def add_to(self, server: grpc.aio.Server) -> None:
        """Serve it."""
        await self.set_serving(serving=self.is_serving)
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)

    async def set_serving(self, *, serving: bool) -> None:
        """Say whether the SEC can answer: false while it starts, drains, or is without its store."""
        self.is_serving = serving
        response = health_pb2.HealthCheckResponse
        status = response.SERVING if serving else response.NOT_SERVING
        for name in self._names:
            await self._servicer.set(name, status)
