"""Spans as OTLP has them: the messages that collectors of OpenTelemetry take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from sagaline_server.core.spans import Span

SCOPE = "sagaline"


def export_request(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> ExportTraceServiceRequest:
    """Return the request that exports spans.

    Args:
        spans: Spans.
        resource: Attributes of the process that exports them.
        version: Of the software that made them.
    """
    request = ExportTraceServiceRequest()
    exported = request.resource_spans.add()
    exported.resource.attributes.extend(_attribute(name, value) for name, value in resource.items())
    scope = exported.scope_spans.add()
    scope.scope.name, scope.scope.version = SCOPE, version
    scope.spans.extend(_span(span) for span in spans)
    return request


def _span(span: Span) -> trace_pb2.Span:
    flags = span.parent.flags | trace_pb2.SPAN_FLAGS_CONTEXT_HAS_IS_REMOTE_MASK
    if not span.is_attempt:
        flags |= trace_pb2.SPAN_FLAGS_CONTEXT_IS_REMOTE_MASK
    return trace_pb2.Span(
        trace_id=span.parent.trace_id,
        span_id=span.span_id,
        parent_span_id=span.parent_id,
        trace_state=span.parent.state,
        flags=flags,
        name=span.name,
        # The caller's side of what a worker does; a saga is not the answer to any call.
        kind=trace_pb2.Span.SPAN_KIND_CLIENT if span.is_attempt else trace_pb2.Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=_nanoseconds(span.start),
        end_time_unix_nano=_nanoseconds(span.end),
        attributes=[_attribute(name, value) for name, value in span.attributes],
        status=trace_pb2.Status(code=trace_pb2.Status.STATUS_CODE_ERROR) if span.is_error else None,
    )


def _attribute(name: str, value: str | int) -> KeyValue:
    told = AnyValue(string_value=value) if isinstance(value, str) else AnyValue(int_value=value)
    return KeyValue(key=name, value=told)


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1_000_000) * 1_000  # a float of today's seconds knows no smaller parts
