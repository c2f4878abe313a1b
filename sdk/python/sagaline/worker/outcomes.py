"""What the exceptions that leave user code say of an attempt, as failures."""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress
from datetime import timedelta

from sagaline.context import Context
from sagaline.errors import ActionOutcome, AttemptCancelled, ConversionError, Failed, Hold, Retry
from sagaline.v1 import failure_pb2
from sagaline.values import encode
from sagaline.worker import limits
from sagaline.worker.attempts import CancelReason
from sagaline.worker.durations import duration_of
from sagaline.worker.failures import (
    APPLICATION,
    CONVERSION,
    FAIL,
    HOLD,
    RETRY,
    cancelled,
    cut_text,
    timed_out,
)


def of_error(error: BaseException, context: Context, *, stack_trace: bool) -> failure_pb2.Failure:
    """What an exception that left user code says of its attempt."""
    if isinstance(error, ActionOutcome):
        return told(error)
    if isinstance(error, asyncio.CancelledError | AttemptCancelled):
        if context.cancel_reason is CancelReason.TIMED_OUT and context.remaining == timedelta(0):
            return timed_out()
        return cancelled(context.cancel_reason or "by user code")
    return unexpected(error, stack_trace=stack_trace)


def told(outcome: ActionOutcome) -> failure_pb2.Failure:
    """User code says itself how its attempt ended. An outcome of no known kind says nothing of the effect: RETRY."""
    failure = failure_pb2.Failure(
        type=cut_text(str(outcome.type), limits.FAILURE_TYPE_BYTES),
        message=cut_text(str(outcome.message), limits.FAILURE_MESSAGE_BYTES),
        disposition=FAIL if isinstance(outcome, Failed) else HOLD if isinstance(outcome, Hold) else RETRY,
        source=APPLICATION,
    )
    if isinstance(outcome, Retry) and outcome.delay is not None:
        delay = min(max(outcome.delay.total_seconds(), 0.0), limits.RETRY_DELAY_SECONDS_MAX)
        failure.next_retry_delay.CopyFrom(duration_of(delay))
    for detail in outcome.details[: limits.FAILURE_DETAILS_MAX]:
        with suppress(ConversionError):  # a detail that can't be sent must not hide the outcome
            failure.details.append(encode(detail))
    return failure


def unexpected(error: BaseException, *, stack_trace: bool) -> failure_pb2.Failure:
    """User code raised something that says nothing about its effect: try again."""
    return failure_pb2.Failure(
        type=cut_text(type(error).__name__, limits.FAILURE_TYPE_BYTES),
        message=cut_text(text_of(error), limits.FAILURE_MESSAGE_BYTES),
        disposition=RETRY,
        source=APPLICATION,
        stack_trace=stack_of(error) if stack_trace else "",
    )


def text_of(error: BaseException) -> str:
    """The message of an exception; an exception that can't even say it must not hide what happened."""
    try:
        return str(error)
    except Exception as worse:  # noqa: BLE001
        return f"(its message can't be had: {type(worse).__name__})"


def stack_of(error: BaseException) -> str:
    """The innermost part of the stack trace: it says where."""
    text = "".join(traceback.format_exception(error)).encode("utf-8", "replace")
    return text[-limits.FAILURE_STACK_BYTES :].decode("utf-8", "ignore")


def not_converted(failure_type: str, error: Exception) -> failure_pb2.Failure:
    """Trying again with the same code and the same value can't help."""
    message = cut_text(f"{type(error).__name__}: {text_of(error)}", limits.FAILURE_MESSAGE_BYTES)
    return failure_pb2.Failure(type=failure_type, message=message, disposition=HOLD, source=CONVERSION)
