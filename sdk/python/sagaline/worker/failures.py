"""Failures that the worker itself tells of, and the limits of failure.proto that every failure is cut to."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline.worker import limits

FAIL = failure_pb2.FAILURE_DISPOSITION_FAIL
HOLD = failure_pb2.FAILURE_DISPOSITION_HOLD
RETRY = failure_pb2.FAILURE_DISPOSITION_RETRY

APPLICATION = failure_pb2.FAILURE_SOURCE_APPLICATION
CANCELLED = failure_pb2.FAILURE_SOURCE_CANCELLED
CONVERSION = failure_pb2.FAILURE_SOURCE_CONVERSION
TIMEOUT = failure_pb2.FAILURE_SOURCE_TIMEOUT

PAYLOAD_TOO_LARGE = "sagaline.PayloadTooLarge"
INPUT_NOT_CONVERTIBLE = "sagaline.InputNotConvertible"
OUTPUT_NOT_CONVERTIBLE = "sagaline.OutputNotConvertible"
ATTEMPT_CANCELLED = "sagaline.Cancelled"
START_TO_CLOSE_TIMEOUT = "sagaline.StartToCloseTimeout"


def payload_too_large(what: str, size: int, size_max: int) -> failure_pb2.Failure:
    """The action ran and its effect stands, so neither a retry nor an undo is certain to help: an operator decides."""
    return failure_pb2.Failure(
        type=PAYLOAD_TOO_LARGE,
        message=f"{what} has {size} bytes encoded, and {size_max} are allowed; pass a reference to it instead",
        disposition=HOLD,
        source=CONVERSION,
    )


def cancelled(why: str) -> failure_pb2.Failure:
    """The attempt was stopped on its way: whether it had an effect is not known."""
    return failure_pb2.Failure(type=ATTEMPT_CANCELLED, message=f"cancelled: {why}", disposition=RETRY, source=CANCELLED)


def timed_out() -> failure_pb2.Failure:
    """As `cancelled`, because it ran longer than start_to_close."""
    return failure_pb2.Failure(
        type=START_TO_CLOSE_TIMEOUT,
        message="it ran longer than its start_to_close",
        disposition=RETRY,
        source=TIMEOUT,
    )


def bounded(failure: failure_pb2.Failure, size_max: int) -> failure_pb2.Failure:
    """Cut a failure, in place, to its limits and to `size_max` bytes in all; what helps least goes first."""
    _cut(failure, 1)
    for field in ("details", "cause", "stack_trace"):
        if failure.ByteSize() <= size_max:
            break
        failure.ClearField(field)
    return failure


def _cut(failure: failure_pb2.Failure, depth: int) -> None:
    failure.type = cut_text(failure.type, limits.FAILURE_TYPE_BYTES)
    failure.message = cut_text(failure.message, limits.FAILURE_MESSAGE_BYTES)
    failure.stack_trace = cut_text(failure.stack_trace, limits.FAILURE_STACK_BYTES)
    del failure.details[limits.FAILURE_DETAILS_MAX :]
    while sum(detail.ByteSize() for detail in failure.details) > limits.FAILURE_DETAILS_BYTES:
        del failure.details[-1]
    if failure.HasField("cause"):
        if depth >= limits.FAILURE_DEPTH_MAX:
            failure.ClearField("cause")
        else:
            _cut(failure.cause, depth + 1)


def cut_text(text: str, bytes_max: int) -> str:
    """Cut to a number of bytes of UTF-8, between characters. Lone surrogates, which no string may carry, become `?`."""
    encoded = text.encode("utf-8", "replace")
    return encoded[:bytes_max].decode("utf-8", "ignore")
