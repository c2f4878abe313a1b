"""A collector of OpenTelemetry in the process of a test: OTLP's TraceService, and the spans that came."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2

from tests.integration.secs import SECONDS

Attributes = dict[str, str | int]


class FakeCollector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps every span that it is sent."""

    def __init__(self) -> None:
        self.address = ""
        self.spans: list[trace_pb2.Span] = []
        self.resources: list[Attributes] = []
        self.failures: list[grpc.StatusCode] = []
        """How the next exports fail."""
        self._more = asyncio.Event()

    async def Export(
        self, request: pb.ExportTraceServiceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ExportTraceServiceResponse:
        if self.failures:
            await context.abort(self.failures.pop(0), "not now")
        for part in request.resource_spans:
            self.resources.append(attributes_of(part.resource.attributes))
            self.spans += [span for scope in part.scope_spans for span in scope.spans]
        self._more.set()
        return pb.ExportTraceServiceResponse()

    async def until(self, holds: Callable[[list[trace_pb2.Span]], bool]) -> None:
        """Wait until something holds of the spans that have come."""
        async with asyncio.timeout(SECONDS):
            while not holds(self.spans):
                self._more.clear()
                await self._more.wait()

    async def saga(self) -> dict[str, trace_pb2.Span]:
        """Wait for the spans of the only saga, which come together; return them by name and attempt."""
        await self.until(lambda spans: any(span.name.startswith("saga ") for span in spans))
        return {
            f"{span.name} {attempt}" if (attempt := told(span).get("sagaline.attempt")) else span.name: span
            for span in self.spans
        }


def attributes_of(pairs: Any) -> Attributes:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}


def told(span: trace_pb2.Span) -> Attributes:
    """Return the attributes of a span."""
    return attributes_of(span.attributes)


@asynccontextmanager
async def collecting(
    address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[FakeCollector]:
    """Serve a collector for as long as the context lasts."""
    server, collector = grpc.aio.server(), FakeCollector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call] # as it was generated
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    collector.address = f"{address.rpartition(':')[0]}:{port}"
    await server.start()
    try:
        yield collector
    finally:
        await server.stop(grace=None)
