"""The tree of errors: the one that is drawn is the one there is, and each error survives being sent elsewhere."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from datetime import timedelta

import grpc
import pytest

from sagaline import Failed, Hold, Retry, errors
from sagaline.errors import ConversionError, FailureInfo, FieldProblem, GraphError, RpcError, SagalineError
from sagaline.rpc_errors import rpc_error

DRAWN = re.compile(r"^(?P<indent>[│├└─ ]*)(?P<name>\w+) +(?P<code>[A-Z_]+)  +\S", re.MULTILINE)


def classes(root: type[SagalineError]) -> Iterator[type[SagalineError]]:
    yield root
    for child in root.__subclasses__():
        if child.__module__ == "sagaline.errors":
            yield from classes(child)


def drawn_tree() -> list[tuple[int, str, str]]:
    assert errors.__doc__ is not None
    return [(len(found["indent"]) // 4, found["name"], found["code"]) for found in DRAWN.finditer(errors.__doc__)]


def depth(cls: type[SagalineError]) -> int:
    return cls.__mro__.index(SagalineError)


def test_the_drawn_tree_is_the_tree() -> None:
    assert drawn_tree() == [(depth(cls), cls.__name__, cls.code) for cls in classes(SagalineError)]


def test_codes_are_unique() -> None:
    codes = [cls.code for cls in classes(SagalineError)]
    assert len(codes) == len(set(codes))


PROBLEM = FieldProblem(field="nodes[0].name", reason="BAD_NAME", message="a name has letters", node="x")


@pytest.mark.parametrize(
    "error",
    [
        Failed("Declined", "no money", details=[1]),
        Retry("Timeout", "no answer", timedelta(seconds=3)),
        Hold("Odd"),
        GraphError("refused", [PROBLEM]),
        ConversionError("expected text", "$.a"),
        errors.PayloadTooLarge("too large", size_bytes=3, limit_bytes=2),
        rpc_error("NOT_FOUND", "no such saga", reason="SAGA_NOT_FOUND", problems=[PROBLEM], retry_delay_s=1.5),
        errors.SagaUnwound("unwound", saga_id="s", failed_node="n", failure=FailureInfo("Declined", "no money")),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_can_be_pickled(error: SagalineError) -> None:
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is type(error)
    assert (str(back), back.__dict__) == (str(error), error.__dict__)


def test_every_class_can_be_raised_with_a_message_alone() -> None:
    for cls in classes(SagalineError):
        assert "Something" in str(cls("Something"))


def test_texts() -> None:
    assert str(Failed("Declined", "no money")) == "Declined: no money"
    assert str(Hold("Odd")) == "Odd"
    assert str(ConversionError("expected text")) == "expected text"
    assert str(ConversionError("expected text", "$.a")) == "$.a: expected text"
    assert str(GraphError("refused", [PROBLEM])) == "refused\n  node x: a name has letters [BAD_NAME]"
    assert str(FieldProblem("labels", "BAD_LABEL", "too long")) == "labels: too long [BAD_LABEL]"
    assert str(rpc_error("NOT_FOUND", "no saga", reason="SAGA_NOT_FOUND")) == "no saga [SAGA_NOT_FOUND]"


@pytest.mark.parametrize("status", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_of_grpc_has_a_class(status: grpc.StatusCode) -> None:
    error = rpc_error(status.name, "it did not work")
    assert type(error) is not RpcError
    assert error.status == status.name


def test_the_reason_says_more_than_the_status() -> None:
    assert type(rpc_error("NOT_FOUND", "m", reason="SAGA_NOT_FOUND")) is errors.SagaNotFound
    assert type(rpc_error("NOT_FOUND", "m", reason="NODE_NOT_FOUND")) is errors.NotFound
    assert type(rpc_error("ALREADY_EXISTS", "m")) is errors.SagaAlreadyExists
    assert type(rpc_error("A_LATER_ONE", "m")) is RpcError


def test_outcomes_carry_what_the_log_needs() -> None:
    retry = Retry("Busy", "try later", timedelta(seconds=2), details=[{"queue": 3}])
    assert (retry.type, retry.message, retry.delay, retry.details) == (
        "Busy", "try later", timedelta(seconds=2), ({"queue": 3},),
    )  # fmt: skip
    assert isinstance(retry, errors.ActionOutcome)
