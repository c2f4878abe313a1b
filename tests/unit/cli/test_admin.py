"""The group admin; workers and why, which stand beside it as well."""

from __future__ import annotations

import json

import click
import pytest
from google.rpc import code_pb2

from sagaline.cli.admin import admin_command
from sagaline.cli.main import main
from sagaline.v1 import admin_service_pb2, saga_pb2, worker_service_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService, status
from tests.unit.cli.samples import running

SEC = worker_service_pb2.Sec(sec_id="sec-1", address="sec-1:7070")
OTHER = worker_service_pb2.Sec(sec_id="sec-2", address="sec-2:7070", draining=True)


def test_workers(sagaline: Sagaline, service: FakeService) -> None:
    actions = [worker_service_pb2.ActionSpec(action=name) for name in ("b", "a")]
    service.workers = [
        admin_service_pb2.WorkerStatus(
            worker_id="w-1",
            identity="host/1",
            connected=True,
            in_flight=2,
            capacity=worker_service_pb2.Capacity(max_in_flight_by_pool={"": 100, "gpu": 4}),
            actions=actions,
            sdk="sagaline-python/0.1.0",
        )
    ]
    lines = sagaline("workers").stdout.splitlines()
    assert lines[1].split("  ")[0] == "w-1"
    assert "2/104" in lines[1]
    assert lines[1].endswith("a, b")
    assert json.loads(sagaline("workers", "-o", "json").stdout)["worker_id"] == "w-1"


def test_no_workers_and_no_sagas_are_told_in_words(sagaline: Sagaline, service: FakeService) -> None:
    service.workers.clear()
    service.sagas.clear()
    result = sagaline("workers")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "`sagaline worker MODULE:ATTR` starts one" in result.stderr
    result = sagaline("list", "--state", "stuck")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no saga is selected\n")


def test_why_names_the_command_that_decides(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    operator = admin_service_pb2.WAIT_REASON_OPERATOR
    service.waits = [
        admin_service_pb2.NodeWait(node="pay", kind=saga_pb2.INVOCATION_KIND_UNDO, reason=operator, message="no"),
        admin_service_pb2.NodeWait(node="book", kind=saga_pb2.INVOCATION_KIND_ACTION, reason=operator, message="no"),
    ]
    undo, action = sagaline("why", "t").stderr.splitlines()
    assert "sagaline resolve t pay --retry | --mark-undone --reason TEXT" in undo
    assert "sagaline resolve t book --retry | --mark-failed | --output-json JSON --reason TEXT" in action
    service.log_length = 14
    assert "--mark-undone --seen 14 --reason TEXT" in sagaline("why", "t").stderr


def test_why(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    empty = sagaline("why", "t")
    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", "nothing waits\n")
    wait = admin_service_pb2.NodeWait(
        node="pay",
        kind=saga_pb2.INVOCATION_KIND_UNDO,
        reason=admin_service_pb2.WAIT_REASON_NO_WORKER,
        message="nobody serves payments.charge",
    )
    wait.age.FromSeconds(75)
    service.waits = [wait]
    assert sagaline("why", "t").stdout.splitlines()[1].split() == (
        ["pay", "undo", "no", "worker", "1m15s", "nobody", "serves", "payments.charge"]
    )
    assert json.loads(sagaline("why", "t", "-o", "json").stdout)["reason"] == "WAIT_REASON_NO_WORKER"


@pytest.mark.parametrize("name", ["workers", "why"])
def test_what_stands_beside_the_group_is_the_same_command(name: str) -> None:
    assert main.get_command(click.Context(main), name) is admin_command.commands[name]


def test_secs(sagaline: Sagaline, service: FakeService) -> None:
    service.secs = [
        admin_service_pb2.SecStatus(sec=SEC, incarnation=7, version="0.1.0", owned_sagas=12, workers=3),
        admin_service_pb2.SecStatus(sec=OTHER, incarnation=9),
    ]
    lines = [line.split() for line in sagaline("admin", "secs").stdout.splitlines()]
    assert lines == [
        ["SEC", "ADDRESS", "STATE", "SAGAS", "WORKERS", "INCARNATION", "VERSION"],
        ["sec-1", "sec-1:7070", "serving", "12", "3", "7", "0.1.0"],
        ["sec-2", "sec-2:7070", "draining", "0", "0", "9"],
    ]
    printed = sagaline("admin", "secs", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["sec"]["sec_id"] for line in printed] == ["sec-1", "sec-2"]
    assert sagaline("admin", "-o", "json", "secs").stdout.splitlines() == printed


@pytest.mark.parametrize("to", ["", "sec-2"])
def test_handoff(sagaline: Sagaline, service: FakeService, to: str) -> None:
    service.add(running("t"))
    service.owner = OTHER
    result = sagaline("admin", "handoff", "t", *(("--to", to) if to else ()))
    assert (result.exit_code, result.stdout) == (0, "t  sec-2 at sec-2:7070, epoch 2\n")
    assert service.requests[-1] == admin_service_pb2.HandOffRequest(saga_id="t", to_sec_id=to)
    printed = json.loads(sagaline("admin", "handoff", "t", "-o", "json").stdout)
    assert printed == {"owner": {"sec_id": "sec-2", "address": "sec-2:7070", "draining": True}, "epoch": "2"}


def test_a_handoff_that_nobody_can_take(sagaline: Sagaline, service: FakeService) -> None:
    service.refusal = status(code_pb2.FAILED_PRECONDITION, "NO_OTHER_SEC", "there is no other SEC")
    result = sagaline("admin", "handoff", "t")
    assert (result.exit_code, result.stderr) == (4, "error: there is no other SEC [NO_OTHER_SEC]\n")
    service.refusal = status(code_pb2.NOT_FOUND, "SEC_NOT_FOUND", "there is no live SEC 'x'")
    assert sagaline("admin", "handoff", "t", "--to", "x").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "sec_id", "seconds"), [([], "", 60), (["sec-2"], "sec-2", 60), (["--within", "2m"], "", 120)]
)
def test_drain(sagaline: Sagaline, service: FakeService, arguments: list[str], sec_id: str, seconds: int) -> None:
    result = sagaline("admin", "drain", *arguments)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", f"{sec_id or 'the SEC'} leaves\n")
    expected = admin_service_pb2.DrainSecRequest(sec_id=sec_id)
    expected.timeout.FromSeconds(seconds)
    assert service.requests == [expected]
    assert sagaline("admin", "drain", "-o", "json").stdout == "{}\n"


def test_limits(sagaline: Sagaline, service: FakeService) -> None:
    scope = admin_service_pb2.Limit(scope="rack/17", max_running=3, max_failing=1)
    action = admin_service_pb2.Limit(action="book", max_in_flight=2, starts_per_second=0.5)
    arguments = ["--scope", "rack/17", "--max-running", "3", "--max-failing", "1"]
    assert sagaline("admin", "limit", "set", *arguments).stdout.split()[-4:] == ["scope", "rack/17", "3", "1"]
    sagaline("admin", "limit", "set", "--action", "book", "--max-in-flight", "2", "--per-second", "0.5")
    assert service.requests == [admin_service_pb2.SetLimitRequest(limit=limit) for limit in (scope, action)]
    assert sagaline("admin", "limit", "list").stderr == "nothing is limited\n"
    service.limits = [action, scope]
    lines = [line.split() for line in sagaline("admin", "limit", "list").stdout.splitlines()]
    assert lines[1:] == [["action", "book", "2", "0.5"], ["scope", "rack/17", "3", "1"]]
    assert len(sagaline("admin", "limit", "list", "-o", "json").stdout.splitlines()) == 2
    assert sagaline("admin", "limit", "remove", "--action", "book").stderr == "action book is not limited\n"
    assert service.requests[-1] == admin_service_pb2.SetLimitRequest(limit=admin_service_pb2.Limit(action="book"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["set", "--max-running", "1"],
        ["set", "--scope", "x", "--action", "y", "--max-running", "1"],
        ["set", "--scope", "x", "--max-in-flight", "1"],
        ["set", "--action", "x", "--max-failing", "1"],
        ["set", "--action", "x"],
        ["set", "--action", "x", "--per-second", "0"],
        ["remove"],
    ],
)
def test_limits_that_make_no_sense(sagaline: Sagaline, service: FakeService, arguments: list[str]) -> None:
    assert sagaline("admin", "limit", *arguments).exit_code == 2
    assert not service.requests


def test_breakpoints_on_actions(sagaline: Sagaline, service: FakeService) -> None:
    who = ["--actor", "ann", "--reason", "a look"]
    point = admin_service_pb2.ActionBreakpoint(
        action="book", kind=saga_pb2.INVOCATION_KIND_UNDO, actor="ann", reason="a look"
    )
    printed = sagaline("admin", "break", "set", "book", "--side", "undo", *who).stdout.splitlines()[1].split()
    assert (printed[:2], printed[-3:]) == (["book", "undo"], ["ann", "a", "look"])
    assert service.requests == [admin_service_pb2.SetActionBreakpointRequest(breakpoint=point)]
    assert json.loads(sagaline("admin", "break", "set", "pay", *who, "-o", "json").stdout)["action"] == "pay"
    assert service.requests[-1].breakpoint.kind == saga_pb2.INVOCATION_KIND_UNSPECIFIED
    assert sagaline("admin", "break", "list").stderr == "no action is held\n"
    service.points = [point, admin_service_pb2.ActionBreakpoint(action="pay")]
    lines = [line.split()[:2] for line in sagaline("admin", "break", "list").stdout.splitlines()]
    assert lines[1:] == [["book", "undo"], ["pay", "both"]]
    assert len(sagaline("admin", "break", "list", "-o", "json").stdout.splitlines()) == 2
    assert sagaline("admin", "break", "clear", "book").stderr == "action book is not held\n"
    assert service.requests[-1] == admin_service_pb2.ClearActionBreakpointRequest(action="book")
    assert sagaline("admin", "break", "clear", "book", "-o", "json").stdout == "{}\n"
    assert sagaline("admin", "break", "set", "book").exit_code == 2, "a reason is wanted"
