"""Failures are cut to the limits of the protocol, and the machine that makes them stays pure."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import sagaline.worker
from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.worker import limits
from sagaline.worker.failures import bounded, cut_text

MACHINE = [
    "attempts",
    "deadlines",
    "durations",
    "effects",
    "epochs",
    "failures",
    "fleet",
    "holdings",
    "limits",
    "membership",
    "progress",
    "pulse",
    "rejections",
    "reports",
    "results",
    "routes",
    "session",
    "slots",
    "streams",
    "windows",
]
IMPURE = {"asyncio", "grpc", "os", "random", "secrets", "socket", "threading", "time", "uuid"}


@pytest.mark.parametrize(
    ("text", "cut"), [("plain", "plai"), ("aöö", "aö"), ("\U0001f600x", "\U0001f600"), ("a\ud800b", "a?b")]
)
def test_text_is_cut_between_characters(text: str, cut: str) -> None:
    assert cut_text(text, 4) == cut


def test_every_part_has_its_limit() -> None:
    failure = failure_pb2.Failure(
        type="t" * 1_000,
        message="m" * 10_000,
        stack_trace="s" * 100_000,
        details=[payload_pb2.Payload(json=f'"{number}"') for number in range(9)],
    )
    bounded(failure, limits.PAYLOAD_BYTES)
    assert len(failure.type) == limits.FAILURE_TYPE_BYTES
    assert len(failure.message) == limits.FAILURE_MESSAGE_BYTES
    assert len(failure.stack_trace) == limits.FAILURE_STACK_BYTES
    assert [detail.json for detail in failure.details] == ['"0"', '"1"', '"2"', '"3"']


def test_details_have_a_limit_together() -> None:
    large = payload_pb2.Payload(json='"' + "x" * 10_000 + '"')
    failure = bounded(failure_pb2.Failure(details=[large, large]), limits.PAYLOAD_BYTES)
    assert len(failure.details) == 1


def test_causes_are_cut_at_their_depth() -> None:
    failure = failure_pb2.Failure(type="0")
    inner = failure
    for depth in range(1, 10):
        inner.cause.type = str(depth)
        inner = inner.cause
    bounded(failure, limits.PAYLOAD_BYTES)
    assert failure.cause.cause.cause.type == "3"
    assert not failure.cause.cause.cause.HasField("cause")


def test_what_helps_least_goes_first_when_all_is_too_much() -> None:
    failure = failure_pb2.Failure(type="t", message="m" * 500, stack_trace="s" * 5_000)
    failure.details.add(json="1")
    bounded(failure, 1_000)
    assert (failure.message, failure.stack_trace, len(failure.details)) == ("m" * 500, "", 0)


@pytest.mark.parametrize("module", MACHINE)
def test_the_machine_has_no_io_clock_or_randomness(module: str) -> None:
    path = Path(str(sagaline.worker.__file__)).parent / f"{module}.py"
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & IMPURE
