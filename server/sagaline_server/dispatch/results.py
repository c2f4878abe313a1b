"""Taking results: from a worker's message to the machine's input, and its fate back to an acknowledgement."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sagaline.v1 import saga_pb2, worker_service_pb2
from sagaline_server.core import limits
from sagaline_server.core.decide import Result, ResultFate
from sagaline_server.core.validate import payload_bytes
from sagaline_server.core.values import Disposition, Failure, FailureSource
from sagaline_server.dispatch.session import AttemptKey
from sagaline_server.ports.sagas import NotTaken, SagaInputs
from sagaline_server.wire.encoded import result_ack
from sagaline_server.wire.payloads import failure_from, payload_from
from sagaline_server.wire.times import duration

RETRY_SECONDS = 1.0

OnAck = Callable[[bytes], None]
"""Given an encoded ResultAck."""


def take_result(
    sagas: SagaInputs, key: AttemptKey, message: worker_service_pb2.InvocationResult, on_ack: OnAck
) -> None:
    """Deliver a result; `on_ack` is called once, when its fate is durable or it can't be taken."""
    saga_id, node, kind, attempt = key
    status = worker_service_pb2.RESULT_STATUS_UNSPECIFIED
    if message.HasField("failure"):
        given = Result(node, kind, attempt, failure=failure_from(message.failure))
    else:
        output = payload_from(message.output)
        size = payload_bytes(output) if message.ByteSize() > limits.PAYLOAD_BYTES else 0
        if size > limits.PAYLOAD_BYTES:
            given = Result(node, kind, attempt, failure=_too_large(size))
            status = worker_service_pb2.RESULT_STATUS_INVALID
        else:
            given = Result(node, kind, attempt, output=output)
    sagas.result(saga_id, given, partial(_acknowledge, sagas, on_ack, key, status))


def take_progress(sagas: SagaInputs, key: AttemptKey, message: worker_service_pb2.Progress) -> None:
    """Deliver what an attempt tells of itself; what is too large only says that it is alive."""
    details = payload_from(message.details) if message.HasField("details") else None
    if details is not None and payload_bytes(details) > limits.PROGRESS_BYTES:
        details = None
    sagas.progressed(*key, details)


def _acknowledge(
    sagas: SagaInputs,
    on_ack: OnAck,
    key: AttemptKey,
    status: worker_service_pb2.ResultStatus.ValueType,
    fate: ResultFate | NotTaken,
) -> None:
    if isinstance(fate, ResultFate):
        on_ack(result_ack(*key, status or fate))
        return
    saga_id, node, kind, attempt = key
    ack = worker_service_pb2.ResultAck()
    ack.ref.saga_id, ack.ref.node, ack.ref.attempt = saga_id, node, attempt
    ack.ref.kind = saga_pb2.InvocationKind.ValueType(kind)
    if fate is NotTaken.NOT_FOUND:
        ack.status = worker_service_pb2.RESULT_STATUS_NOT_FOUND
    elif fate is NotTaken.MOVED:
        ack.status = worker_service_pb2.RESULT_STATUS_NOT_OWNER
        owner = sagas.owner_of(saga_id)
        if owner is not None:
            ack.owner.sec_id, ack.owner.address = owner
    else:
        ack.status = worker_service_pb2.RESULT_STATUS_RETRY
        ack.retry_delay.CopyFrom(duration(RETRY_SECONDS))
    on_ack(ack.SerializeToString())


def _too_large(size: int) -> Failure:
    message = f"the output has {size} bytes; at most {limits.PAYLOAD_BYTES} are allowed"
    return Failure("sagaline.PayloadTooLarge", message, Disposition.HOLD, FailureSource.CONVERSION)
