"""Reads the errors of calls and of batches: google.rpc.Status and its details become the classes of sagaline.errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sagaline.errors import FieldProblem, RpcError
from sagaline.rpc_errors import rpc_error
from sagaline.v1 import saga_service_pb2

DOMAIN = "sagaline.dev"
"""`ErrorInfo.domain` of every reason that a SEC gives; another's reasons mean nothing here."""

DETAILS_KEY = "grpc-status-details-bin"

D = TypeVar("D", bound=Message)


class FailedCall(Protocol):
    """What grpc.RpcError of a finished call and grpc.aio.AioRpcError have in common."""

    def code(self) -> grpc.StatusCode:
        """Return the status code."""
        raise NotImplementedError

    def details(self) -> str | None:
        """Return the status message."""
        raise NotImplementedError

    def trailing_metadata(self) -> Iterable[tuple[str, str | bytes]] | None:
        """Return the trailing metadata, in which the details are."""
        raise NotImplementedError


def from_call(call: FailedCall) -> RpcError:
    """Return the error that a failed call stands for."""
    status = _status_details(call.trailing_metadata())
    info = _detail(status, error_details_pb2.ErrorInfo)
    retry = _detail(status, error_details_pb2.RetryInfo)
    return rpc_error(
        call.code().name,
        call.details() or status.message or "the call failed and nothing says why",
        reason=info.reason if info is not None and info.domain == DOMAIN else "",
        problems=[*_field_problems(status), *_preconditions(status)],
        retry_delay_s=_seconds(retry) if retry is not None else None,
    )


def from_batch_error(error: saga_service_pb2.BatchError) -> RpcError:
    """Return the error that one refused saga of a batch stands for: the same as had it been created alone."""
    known = error.code in code_pb2.Code.values()
    return rpc_error(
        code_pb2.Code.Name(code_pb2.Code.ValueType(error.code)) if known else "UNKNOWN",
        error.message or "refused, and nothing says why",
        reason=error.reason,
        problems=[
            FieldProblem(problem.field, problem.reason, problem.message, problem.node) for problem in error.problems
        ],
    )


def _status_details(metadata: Iterable[tuple[str, str | bytes]] | None) -> status_pb2.Status:
    """Return the details, or an empty status where there are none: proxies and old servers send none."""
    for key, value in metadata or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                break
    return status_pb2.Status()


def _detail(status: status_pb2.Status, kind: type[D]) -> D | None:
    return next((found for packed in status.details if (found := _unpacked(packed, kind)) is not None), None)


def _unpacked(packed: Any, kind: type[D]) -> D | None:
    found = kind()
    try:
        return found if packed.Unpack(found) else None
    except DecodeError:
        return None


def _field_problems(status: status_pb2.Status) -> list[FieldProblem]:
    details = _detail(status, error_details_pb2.BadRequest)
    violations = details.field_violations if details is not None else ()
    return [FieldProblem(each.field, each.reason, each.description) for each in violations]


def _preconditions(status: status_pb2.Status) -> list[FieldProblem]:
    details = _detail(status, error_details_pb2.PreconditionFailure)
    violations = details.violations if details is not None else ()
    return [FieldProblem(each.subject, each.type, each.description) for each in violations]


def _seconds(retry: error_details_pb2.RetryInfo) -> float:
    delay: float = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
    return max(0.0, delay)
