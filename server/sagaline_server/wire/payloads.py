"""Payloads and failures to and from their messages."""

from __future__ import annotations

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline_server.core import limits
from sagaline_server.core.values import Disposition, Failure, FailureSource, Payload
from sagaline_server.wire.times import duration, to_seconds

NULL = Payload(json="null")


def payload_from(message: payload_pb2.Payload) -> Payload:
    """Return a payload. No value set is the JSON null."""
    text = message.json
    if text and not message.metadata:
        return Payload(json=text)
    if message.HasField("data"):
        return Payload(None, message.data, message.encoding, tuple(sorted(message.metadata.items())))
    if not text and not message.encoding and not message.metadata:
        return NULL
    return Payload(text or "null", None, message.encoding, tuple(sorted(message.metadata.items())))


def fill_payload(message: payload_pb2.Payload, payload: Payload) -> None:
    """Write a payload into an empty message."""
    if payload.data is not None:
        message.data = payload.data
    else:
        message.json = payload.json or "null"
    if payload.encoding:
        message.encoding = payload.encoding
    if payload.metadata:
        message.metadata.update(payload.metadata)


def failure_from(message: failure_pb2.Failure, *, trusted: bool = False, depth: int = 0) -> Failure:
    """Return a failure, what is too long cut to its limit.

    Args:
        message: What a worker sent, or the log says.
        trusted: True for the log. A worker can't say that it has been lost.
        depth: How many failures it is the cause of.
    """
    source = FailureSource(message.source) if message.source in _SOURCES else FailureSource.APPLICATION
    if source is FailureSource.WORKER_LOST and not trusted:
        source = FailureSource.APPLICATION
    disposition = message.disposition
    has_cause = message.HasField("cause") and depth < limits.FAILURE_CAUSES
    return Failure(
        type=_cut(message.type, limits.FAILURE_TYPE_BYTES) or "Unknown",
        message=_cut(message.message, limits.FAILURE_MESSAGE_BYTES),
        disposition=Disposition(disposition) if disposition in _DISPOSITIONS else Disposition.RETRY,
        source=source,
        next_retry_delay=to_seconds(message.next_retry_delay) if message.HasField("next_retry_delay") else None,
        details=_details(message),
        stack_trace=_cut(message.stack_trace, limits.FAILURE_STACK_BYTES),
        cause=failure_from(message.cause, trusted=trusted, depth=depth + 1) if has_cause else None,
    )


def _details(message: failure_pb2.Failure) -> tuple[Payload, ...]:
    kept = message.details[: limits.FAILURE_DETAILS]
    if sum(detail.ByteSize() for detail in kept) > limits.FAILURE_DETAILS_BYTES:
        return ()
    return tuple(payload_from(detail) for detail in kept)


_SOURCES = frozenset(int(source) for source in FailureSource)
_DISPOSITIONS = frozenset(int(disposition) for disposition in Disposition)


def fill_failure(message: failure_pb2.Failure, failure: Failure) -> None:
    """Write a failure into an empty message."""
    message.type = failure.type
    message.message = failure.message
    message.disposition = failure_pb2.FailureDisposition.ValueType(failure.disposition)
    message.source = failure_pb2.FailureSource.ValueType(failure.source)
    if failure.next_retry_delay is not None:
        message.next_retry_delay.CopyFrom(duration(failure.next_retry_delay))
    for detail in failure.details:
        fill_payload(message.details.add(), detail)
    if failure.stack_trace:
        message.stack_trace = failure.stack_trace
    if failure.cause is not None:
        fill_failure(message.cause, failure.cause)


def _cut(text: str, limit: int) -> str:
    if len(text) * 4 <= limit:
        return text
    raw = text.encode()
    return text if len(raw) <= limit else raw[:limit].decode(errors="ignore")
