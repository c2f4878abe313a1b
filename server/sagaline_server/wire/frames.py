"""Invocations as workers get them."""

from __future__ import annotations

from sagaline.v1 import saga_pb2, worker_service_pb2
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import Invocation, idempotency_key
from sagaline_server.core.traces import TRACEPARENT, span_id
from sagaline_server.wire import encoded
from sagaline_server.wire.payloads import fill_failure, fill_payload
from sagaline_server.wire.times import duration
from sagaline_server.wire.views import About


def encoded_invocation(saga_id: str, invocation: Invocation, epoch: int, fencing_token: int, told: About) -> bytes:
    """Return the encoded message of an invocation; arguments as of `invocation_message`."""
    if invocation.timeouts is not None or invocation.last_progress is not None or told.labels or told.trace_context:
        return invocation_message(saga_id, invocation, epoch, fencing_token, told).SerializeToString()
    node, kind, action, version = invocation.node, invocation.kind, invocation.action, invocation.version
    head = encoded.invocation_head(saga_id, node, kind, invocation.attempt, action, version, epoch, fencing_token)
    for name, value in invocation.inputs:
        head += encoded.input_field(name, value)
    if kind is Kind.UNDO:
        key = idempotency_key(saga_id, node, Kind.ACTION)
        head += encoded.undo_field(key, invocation.action_output, invocation.saga_failure)
    return head


def invocation_message(
    saga_id: str,
    invocation: Invocation,
    epoch: int,
    fencing_token: int,
    told: About,
) -> worker_service_pb2.Invocation:
    """Return the message of an invocation.

    Args:
        saga_id: Saga.
        invocation: What to run.
        epoch: Of the ownership that sends it.
        fencing_token: Store revision of the append that logged its start.
        told: Of the saga: labels and trace context travel on, with the attempt's own span as the parent where there
            will be one.
    """
    kind = invocation.kind
    message = worker_service_pb2.Invocation(
        action=invocation.action,
        version=invocation.version,
        idempotency_key=idempotency_key(saga_id, invocation.node, kind),
        epoch=epoch,
        fencing_token=fencing_token,
    )
    ref = message.ref
    ref.saga_id, ref.node, ref.attempt = saga_id, invocation.node, invocation.attempt
    ref.kind = saga_pb2.InvocationKind.ValueType(kind)
    for name, payload in invocation.inputs:
        fill_payload(message.inputs[name], payload)
    limits = invocation.timeouts
    if limits is not None and limits.start_to_close is not None:
        message.start_to_close.CopyFrom(duration(limits.start_to_close))
    if limits is not None and limits.heartbeat is not None:
        message.heartbeat_timeout.CopyFrom(duration(limits.heartbeat))
    if invocation.last_progress is not None:
        fill_payload(message.last_progress, invocation.last_progress)
    if told.labels:
        message.labels.update(told.labels)
    if told.trace_context:
        message.trace_context.update(told.trace_context)
    if told.span_parent is not None:
        span = span_id(saga_id, invocation.node, kind, invocation.attempt)
        message.trace_context[TRACEPARENT] = told.span_parent.below(span)
    if kind is Kind.UNDO:
        _fill_undo(message.undo, saga_id, invocation)
    return message


def _fill_undo(undo: worker_service_pb2.UndoContext, saga_id: str, invocation: Invocation) -> None:
    undo.action_idempotency_key = idempotency_key(saga_id, invocation.node, Kind.ACTION)
    if invocation.action_output is None:
        undo.action_outcome = worker_service_pb2.ACTION_OUTCOME_UNKNOWN
    else:
        undo.action_outcome = worker_service_pb2.ACTION_OUTCOME_SUCCEEDED
        fill_payload(undo.action_output, invocation.action_output)
    if invocation.saga_failure is not None:
        fill_failure(undo.saga_failure, invocation.saga_failure)
