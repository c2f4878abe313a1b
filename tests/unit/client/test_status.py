"""Errors of calls and of batches become the classes of sagaline.errors."""

from __future__ import annotations

from collections.abc import Sequence

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sagaline import errors
from sagaline.client.status import DETAILS_KEY, DOMAIN, from_batch_error, from_call
from sagaline.v1 import saga_service_pb2


class Ended:
    """A call that ended as a test wants it."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None = "no", metadata: Sequence[tuple[str, str | bytes]] | None = ()
    ) -> None:
        self._code, self._details, self._metadata = code, details, metadata

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> Sequence[tuple[str, str | bytes]] | None:
        return self._metadata


def with_details(code: grpc.StatusCode, *details: Message) -> Ended:
    status = status_pb2.Status(code=code.value[0], message="no")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    return Ended(code, "no", [("x-other", "1"), (DETAILS_KEY, status.SerializeToString())])


def info(reason: str, domain: str = DOMAIN) -> error_details_pb2.ErrorInfo:
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain)


CLASSES = {
    grpc.StatusCode.INVALID_ARGUMENT: errors.InvalidRequest,
    grpc.StatusCode.NOT_FOUND: errors.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: errors.SagaAlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: errors.NotAllowedNow,
    grpc.StatusCode.RESOURCE_EXHAUSTED: errors.LimitReached,
    grpc.StatusCode.UNIMPLEMENTED: errors.NotServed,
    grpc.StatusCode.UNAUTHENTICATED: errors.NotAuthenticated,
    grpc.StatusCode.PERMISSION_DENIED: errors.NotPermitted,
    grpc.StatusCode.ABORTED: errors.Conflict,
    grpc.StatusCode.UNAVAILABLE: errors.Unavailable,
    grpc.StatusCode.DEADLINE_EXCEEDED: errors.CallTimeout,
    grpc.StatusCode.CANCELLED: errors.CallStopped,
    grpc.StatusCode.INTERNAL: errors.ServerFault,
    grpc.StatusCode.UNKNOWN: errors.ServerFault,
}


@pytest.mark.parametrize(("code", "kind"), CLASSES.items())
def test_each_status_has_its_class(code: grpc.StatusCode, kind: type[errors.RpcError]) -> None:
    error = from_call(Ended(code))
    assert type(error) is kind
    assert (error.status, error.message, error.reason) == (code.name, "no", "")


def test_the_reason_refines_the_class() -> None:
    error = from_call(with_details(grpc.StatusCode.NOT_FOUND, info("SAGA_NOT_FOUND")))
    assert type(error) is errors.SagaNotFound
    assert error.reason == "SAGA_NOT_FOUND"


def test_reasons_of_other_domains_mean_nothing() -> None:
    error = from_call(with_details(grpc.StatusCode.NOT_FOUND, info("SAGA_NOT_FOUND", "proxy.example")))
    assert type(error) is errors.NotFound
    assert error.reason == ""


def test_all_field_problems_are_told() -> None:
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field="saga.graph", description="no nodes", reason="EMPTY_GRAPH"),
        error_details_pb2.BadRequest.FieldViolation(field="saga.labels", description="33", reason="TOO_MANY"),
    ]
    details = error_details_pb2.BadRequest(field_violations=violations)
    error = from_call(with_details(grpc.StatusCode.INVALID_ARGUMENT, info("BAD_SPEC"), details))
    assert error.problems == (
        errors.FieldProblem("saga.graph", "EMPTY_GRAPH", "no nodes"),
        errors.FieldProblem("saga.labels", "TOO_MANY", "33"),
    )


def test_preconditions_are_told_as_problems() -> None:
    violation = error_details_pb2.PreconditionFailure.Violation(
        type="NODE_STATUS", subject="pay", description="pending"
    )
    details = error_details_pb2.PreconditionFailure(violations=[violation])
    error = from_call(with_details(grpc.StatusCode.FAILED_PRECONDITION, details))
    assert error.problems == (errors.FieldProblem("pay", "NODE_STATUS", "pending"),)


def test_the_time_to_try_again_is_told() -> None:
    retry = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=1, nanos=500_000_000))
    assert from_call(with_details(grpc.StatusCode.RESOURCE_EXHAUSTED, retry)).retry_delay_s == 1.5
    assert from_call(with_details(grpc.StatusCode.RESOURCE_EXHAUSTED)).retry_delay_s is None
    past = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=-5))
    assert from_call(with_details(grpc.StatusCode.RESOURCE_EXHAUSTED, past)).retry_delay_s == 0.0


@pytest.mark.parametrize(
    "metadata",
    [None, [], [(DETAILS_KEY, b"\xff\xff")], [(DETAILS_KEY, "text")], [("grpc-status-details", b"")]],
)
def test_details_that_cannot_be_read_are_as_none(metadata: Sequence[tuple[str, str | bytes]] | None) -> None:
    error = from_call(Ended(grpc.StatusCode.NOT_FOUND, "no such saga", metadata))
    assert (type(error), error.message) == (errors.NotFound, "no such saga")


def test_a_detail_that_cannot_be_read_does_not_hide_the_others() -> None:
    status = status_pb2.Status(code=5, message="no")
    broken = AnyMessage(type_url="type.googleapis.com/google.rpc.RetryInfo", value=b"\xff")
    packed = AnyMessage()
    packed.Pack(info("SAGA_NOT_FOUND"))
    status.details.extend([broken, packed])
    error = from_call(Ended(grpc.StatusCode.NOT_FOUND, "no", [(DETAILS_KEY, status.SerializeToString())]))
    assert type(error) is errors.SagaNotFound


def test_an_error_without_words_still_says_something() -> None:
    assert "nothing says why" in str(from_call(Ended(grpc.StatusCode.UNKNOWN, None)))


def test_an_error_inside_a_batch_is_the_same_as_alone() -> None:
    problem = saga_service_pb2.FieldProblem(field="nodes[2]", reason="UNKNOWN_NODE", message="no x", node="pay")
    error = from_batch_error(
        saga_service_pb2.BatchError(
            code=code_pb2.INVALID_ARGUMENT, reason="BAD_GRAPH", message="bad", problems=[problem]
        )
    )
    assert type(error) is errors.InvalidRequest
    assert (error.status, error.reason) == ("INVALID_ARGUMENT", "BAD_GRAPH")
    assert error.problems == (errors.FieldProblem("nodes[2]", "UNKNOWN_NODE", "no x", "pay"),)


def test_a_batch_error_of_no_known_code_is_a_fault_of_the_server() -> None:
    error = from_batch_error(saga_service_pb2.BatchError(code=999))
    assert type(error) is errors.ServerFault
    assert "nothing says why" in str(error)
