"""A collector of OpenTelemetry, over OTLP on gRPC.

On OTLP's own messages and a channel like our others: the SDK's exporter would
bring a thread that blocks, a second logging, and no word of what is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from sagaline_server.core.spans import Span
from sagaline_server.ports.spans import ExportError
from sagaline_server.tracing.otlp import export_request

EXPORT_SECONDS = 10.0
"""How long one export is tried; meanwhile others gather."""

_RETRIES = {
    "methodConfig": [
        {
            "name": [{"service": "opentelemetry.proto.collector.trace.v1.TraceService"}],
            "retryPolicy": {
                "maxAttempts": 5,
                "initialBackoff": "0.2s",
                "maxBackoff": "3s",
                "backoffMultiplier": 2,
                # After these OTLP's specification lets a client send the same again, whatever the server says.
                "retryableStatusCodes": [
                    "CANCELLED",
                    "DEADLINE_EXCEEDED",
                    "ABORTED",
                    "OUT_OF_RANGE",
                    "UNAVAILABLE",
                    "DATA_LOSS",
                ],
            },
        }
    ]
}
_OPTIONS = (
    ("grpc.service_config", json.dumps(_RETRIES)),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)


class Collector:
    """Where spans go. Make it in the event loop that exports."""

    def __init__(self, address: str, credentials: grpc.ChannelCredentials | None, sec_id: str, version: str) -> None:
        """Open a channel; the collector may be away.

        Args:
            address: HOST:PORT.
            credentials: For TLS. None: plaintext.
            sec_id: Name of this SEC.
            version: Of this SEC.
        """
        if credentials is None:
            self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(address, credentials, options=_OPTIONS)
        self._stub = TraceServiceStub(self._channel)  # type: ignore[no-untyped-call] # generated, and has no types
        self._resource = {"service.name": "sagaline", "service.instance.id": sec_id, "service.version": version}
        self._version = version

    async def export(self, spans: Sequence[Span]) -> int:
        """Give spans to the collector, which may come back meanwhile; returns how many it refused.

        Raises:
            ExportError: It took none, or has not said that it did.
        """
        request = export_request(spans, self._resource, self._version)
        try:
            answer = await self._stub.Export(request, timeout=EXPORT_SECONDS, wait_for_ready=True)
        except grpc.aio.AioRpcError as error:
            raise ExportError(f"{error.code().name}: {error.details()}") from error
        return min(len(spans), int(answer.partial_success.rejected_spans))

    async def close(self) -> None:
        """Close the channel; an export under way ends."""
        await self._channel.close()
