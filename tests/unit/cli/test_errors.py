"""Every error is one line on standard error, with the fields that are wrong below it, and an exit code."""

from __future__ import annotations

import socket

import pytest
from google.rpc import code_pb2, error_details_pb2

from sagaline.cli import settings
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService, status


def test_no_such_saga(sagaline: Sagaline) -> None:
    for command in ("get", "wait", "watch", "log", "pause", "why", "graph"):
        result = sagaline(command, "nope")
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == "error: there is no saga nope [SAGA_NOT_FOUND]\n"


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (code_pb2.INVALID_ARGUMENT, 4),
        (code_pb2.FAILED_PRECONDITION, 4),
        (code_pb2.ALREADY_EXISTS, 4),
        (code_pb2.PERMISSION_DENIED, 4),
        (code_pb2.UNIMPLEMENTED, 4),
        (code_pb2.RESOURCE_EXHAUSTED, 4),
        (code_pb2.INTERNAL, 5),
        (code_pb2.DEADLINE_EXCEEDED, 5),
    ],
)
def test_the_exit_code_follows_the_kind_of_error(
    sagaline: Sagaline, service: FakeService, code: int, exit_code: int
) -> None:
    service.refusal = status(code, "SOME_REASON", "it cannot be")
    result = sagaline("list")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr == "error: it cannot be [SOME_REASON]\n"


def test_an_answer_that_does_not_come(sagaline: Sagaline, service: FakeService) -> None:
    service.refusal = status(code_pb2.DEADLINE_EXCEEDED, "", "Deadline Exceeded")
    result = sagaline("list")
    assert result.exit_code == 5
    assert result.stderr.startswith("error: no answer came in time (Deadline Exceeded)")
    assert "without its store" in result.stderr


def test_each_field_that_is_wrong_has_a_line(sagaline: Sagaline, service: FakeService) -> None:
    fields = [("saga.graph.nodes[2]", "no node x"), ("saga.labels", "33 labels")]
    violations = [
        error_details_pb2.BadRequest.FieldViolation(field=field, description=text, reason="BAD")
        for field, text in fields
    ]
    bad = error_details_pb2.BadRequest(field_violations=violations)
    service.refusal = status(code_pb2.INVALID_ARGUMENT, "BAD_SPEC", "the saga is refused", bad)
    assert sagaline("list").stderr.splitlines() == [
        "error: the saga is refused [BAD_SPEC]",
        "  saga.graph.nodes[2]: no node x [BAD]",
        "  saga.labels: 33 labels [BAD]",
    ]


def test_what_a_server_says_cannot_steer_the_terminal(sagaline: Sagaline, service: FakeService) -> None:
    service.refusal = status(code_pb2.INVALID_ARGUMENT, "BAD", "\x1b[2Jgone\nerror: [red]fake[/red]\u202e")
    assert sagaline("list").stderr == "error: \\x1b[2Jgone\\nerror: [red]fake[/red]\\u202e [BAD]\n"


def test_nobody_at_the_address(sagaline_offline: Sagaline) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
        result = sagaline_offline("--timeout", "300ms", "--address", address, "get", "t")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: ")
    assert address in result.stderr
    assert "serves TLS wants --ca" in result.stderr


def test_without_an_address_it_is_said_how_to_get_a_sec(
    sagaline_offline: Sagaline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setattr(settings, "ADDRESS_DEFAULT", f"127.0.0.1:{unused.getsockname()[1]}")
        result = sagaline_offline("get", "t", "--timeout", "300ms")
    assert result.exit_code == 5
    assert "sagaline dev" in result.stderr.splitlines()[1]


@pytest.mark.parametrize(("wrong", "meant"), [("gett", "get"), ("lst", "list"), ("exlpain", None)])
def test_a_command_that_is_nearly_one(sagaline_offline: Sagaline, wrong: str, meant: str | None) -> None:
    result = sagaline_offline(wrong)
    assert result.exit_code == 2
    assert (f"Did you mean {meant}" in result.stderr) == (meant is not None)


def test_the_address_may_come_from_the_environment(
    sagaline_offline: Sagaline, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGALINE_ADDRESS", address)
    assert sagaline_offline("get", "nope").exit_code == 3
    monkeypatch.setenv("SAGALINE_ADDRESS", "127.0.0.1:1")
    assert sagaline_offline("get", "nope", "--address", address).exit_code == 3


@pytest.mark.parametrize("among", [["--address", "127.0.0.1:1,{}"], ["--address", "127.0.0.1:1", "--address", "{}"]])
def test_another_of_several_addresses_answers(sagaline_offline: Sagaline, address: str, among: list[str]) -> None:
    given = [word.format(address) for word in among]
    assert sagaline_offline("get", "nope", *given).exit_code == 3
    assert sagaline_offline(*given, "step", "nope").exit_code == 3


def test_several_addresses_from_the_environment(
    sagaline_offline: Sagaline, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SAGALINE_ADDRESS", f"127.0.0.1:1,{address}")
    assert sagaline_offline("get", "nope").exit_code == 3
    result = sagaline_offline("admin", "drain")
    assert (result.exit_code, "name the SEC" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        ["get"],
        ["unheard-of"],
        ["list", "--state", "odd"],
        ["list", "--limit", "0"],
        ["list", "--label", "x"],
        ["list", "--label", "x=1", "--label", "x=2"],
        ["--timeout", "soon", "list"],
        ["list", "-o", "yaml"],
        ["log", "t", "--from", "0"],
    ],
)
def test_wrong_usage(sagaline: Sagaline, service: FakeService, arguments: list[str]) -> None:
    result = sagaline(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ")
    assert service.requests == []
