"""What is written for every action, put together of encoded fields: entries, invocations, acknowledgements.

Setting the fields of a message costs more than everything else that is done
with an action. So what is common is encoded here by hand, and whatever is out
of the ordinary goes through its message. An encoded message may be put
together of its encoded fields, so both give the same to whoever reads it, and
tests/unit/wire/test_encoded.py compares the two.
"""

from __future__ import annotations

from functools import lru_cache

from sagaline.v1 import failure_pb2, payload_pb2, worker_service_pb2
from sagaline_server.core.entries import Kind
from sagaline_server.core.values import Failure, Payload
from sagaline_server.wire.payloads import fill_failure, fill_payload
from sagaline_server.wire.times import timestamp
from sagaline_server.wire.varints import varint

# The tags are of the fields in protos/sagaline/v1: number and, in its lowest bits, 2 for bytes or 0 for a number.
ACTION_KEY, UNDO_KEY = b"/action", b"/undo"


def field(tag: bytes, content: bytes) -> bytes:
    """Return a field of text, of bytes, or of a message that is encoded already."""
    return tag + varint(len(content)) + content


@lru_cache(64)
def time(seconds: float) -> bytes:
    """Return an encoded Timestamp. What happens in one pass of the loop has one time."""
    return timestamp(seconds).SerializeToString()


def payload(value: Payload) -> bytes:
    """Return an encoded Payload."""
    if value.data is None and not value.metadata and not value.encoding:
        text = (value.json or "null").encode()
        return b"\x0a" + varint(len(text)) + text
    message = payload_pb2.Payload()
    fill_payload(message, value)
    return message.SerializeToString()


@lru_cache(4096)
def ref_rest(node: str, kind: Kind, attempt: int) -> bytes:
    """Return an encoded InvocationRef but for its saga."""
    return field(b"\x12", node.encode()) + b"\x18" + varint(kind) + b"\x20" + varint(attempt)


@lru_cache(4096)
def _success_head(node: str, attempt: int, payload_bytes: int) -> bytes:
    """Return all that stands before the payload in the field `entries` of a LogBatch that is a NodeSucceeded."""
    head = field(b"\x0a", node.encode()) + b"\x10" + varint(attempt) + b"\x1a" + varint(payload_bytes)
    body = b"\x6a" + varint(len(head) + payload_bytes) + head
    return b"\x2a" + varint(len(body) + payload_bytes) + body


def success(node: str, attempt: int, output: Payload) -> bytes:
    """Return the field `entries` of a LogBatch that holds a NodeSucceeded."""
    value = payload(output)
    return _success_head(node, attempt, len(value)) + value


@lru_cache(4096)
def _around(
    saga_bytes: int, node: str, kind: Kind, attempt: int, action: str, version: str, epoch: int
) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, between and after the two places of the saga's id at the head of an Invocation."""
    rest = ref_rest(node, kind, attempt)
    own = varint(saga_bytes)
    key = b"/" + node.encode() + (ACTION_KEY if kind is Kind.ACTION else UNDO_KEY)
    before = b"\x0a" + varint(1 + len(own) + saga_bytes + len(rest)) + b"\x0a" + own
    names = field(b"\x12", action.encode()) + field(b"\x1a", version.encode())
    return before, rest + names + b"\x22" + varint(saga_bytes + len(key)), key + b"\x28" + varint(epoch) + b"\x30"


def invocation_head(
    saga_id: str, node: str, kind: Kind, attempt: int, action: str, version: str, epoch: int, fencing_token: int
) -> bytes:
    """Return the fields of an Invocation that every one has."""
    saga = saga_id.encode()
    before, between, after = _around(len(saga), node, kind, attempt, action, version, epoch)
    return before + saga + between + saga + after + varint(fencing_token)


@lru_cache(4096)
def _input_head(name: str, payload_bytes: int) -> bytes:
    """Return all that stands before the payload in the field of an Invocation that holds one input."""
    head = field(b"\x0a", name.encode()) + b"\x12" + varint(payload_bytes)
    return b"\x4a" + varint(len(head) + payload_bytes) + head


def input_field(name: str, value: Payload) -> bytes:
    """Return the field of an Invocation that holds one input."""
    content = payload(value)
    return _input_head(name, len(content)) + content


def undo_field(action_key: str, output: Payload | None, saga_failure: Failure | None) -> bytes:
    """Return the field `undo` of an Invocation."""
    outcome = (
        worker_service_pb2.ACTION_OUTCOME_UNKNOWN if output is None else worker_service_pb2.ACTION_OUTCOME_SUCCEEDED
    )
    parts = [b"\x08" + varint(outcome), field(b"\x12", action_key.encode())]
    if output is not None:
        parts.append(field(b"\x1a", payload(output)))
    if saga_failure is not None:
        parts.append(field(b"\x22", _failure(saga_failure)))
    return field(b"\x52", b"".join(parts))


@lru_cache(64)
def _failure(failure: Failure) -> bytes:
    message = failure_pb2.Failure()
    fill_failure(message, failure)
    return message.SerializeToString()


def result_ack(saga_id: str, node: str, kind: Kind, attempt: int, status: int) -> bytes:
    """Return an encoded ResultAck that says no more than a status."""
    saga = saga_id.encode()
    before, after = _around_ack(len(saga), node, kind, attempt, status)
    return before + saga + after


@lru_cache(4096)
def _around_ack(saga_bytes: int, node: str, kind: Kind, attempt: int, status: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the saga's id in a ResultAck."""
    own, rest = b"\x0a" + varint(saga_bytes), ref_rest(node, kind, attempt)
    return b"\x0a" + varint(len(own) + saga_bytes + len(rest)) + own, rest + b"\x10" + varint(status)
