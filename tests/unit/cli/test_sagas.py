"""get, list and wait; pause, resume, unwind and resolve."""

from __future__ import annotations

import json

import pytest
from google.protobuf import json_format

from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import fleet, running, succeeded, unwound


def test_get_shows_the_saga_and_its_nodes(sagaline: Sagaline, service: FakeService) -> None:
    service.add(unwound())
    result = sagaline("get", "t-1")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "saga:         t-1",
        "graph:        trip",
        "state:        unwound",
        "failed node:  hotel/pick",
        "failure:      Full: no room",
        'params:       {"city":"Oslo"}',
        "created:      2026-01-01 00:00:00.000Z",
        "finished:     2026-01-01 00:00:03.200Z",
        "took:         3.2s",
        "labels:       env=test, team=a",
        "scopes:       rack/17",
        "owner:        sec-1, epoch 2",
        "log:          0 entries",
        "",
        "NODE        STATUS     ACTION           ATTEMPTS",
        "pay         undone     payments.charge  1, undo 2",
        "hotel       failed     subsaga",
        "hotel/pick  failed     hotels.pick      3          Full: no room",
        "confirm     abandoned  trips.confirm",
    ]


@pytest.mark.parametrize("place", ["before", "after"])
def test_json_is_the_protobuf_mapping_wherever_the_option_stands(
    sagaline: Sagaline, service: FakeService, place: str
) -> None:
    service.add(unwound())
    result = sagaline("-o", "json", "get", "t-1") if place == "before" else sagaline("get", "t-1", "-o", "json")
    assert json_format.Parse(result.stdout, saga_pb2.Saga()) == unwound()
    assert json.loads(result.stdout)["saga_id"] == "t-1"


def test_list_reads_all_pages_up_to_its_limit(sagaline: Sagaline, service: FakeService) -> None:
    for number in range(5):
        service.add(succeeded(f"t-{number}"))
    result = sagaline("list", "-o", "json")
    assert [json.loads(line)["saga_id"] for line in result.stdout.splitlines()] == [f"t-{n}" for n in range(5)]
    assert result.stderr == ""
    limited = sagaline("list", "--limit", "3")
    assert [line.split()[0] for line in limited.stdout.splitlines()] == ["SAGA", "t-0", "t-1", "t-2"]
    assert "more than 3" in limited.stderr
    assert "more" not in sagaline("list", "--limit", "5").stderr


def test_list_sends_its_filter(sagaline: Sagaline, service: FakeService) -> None:
    options = ["--state", "stuck", "--state", "running", "--graph", "trip", "--label", "team=a", "--scope", "rack/17"]
    options += ["--created-from", "2026-01-01", "--created-before", "2026-01-01T00:01+00:00"]
    assert sagaline("list", *options, "--failed-node", "pay", "--needs-operator", "--idle-for", "2m").exit_code == 0
    [request] = service.requests
    expected = saga_service_pb2.SagaFilter(
        states=[saga_pb2.SAGA_STATE_STUCK, saga_pb2.SAGA_STATE_RUNNING],
        graph_name="trip",
        labels={"team": "a"},
        scope="rack/17",
        failed_node="pay",
        needs_operator=True,
    )
    expected.idle_for.FromSeconds(120)
    expected.create_time_from.FromJsonString("2026-01-01T00:00:00Z")
    expected.create_time_before.FromJsonString("2026-01-01T00:01:00Z")
    assert request.filter == expected


@pytest.mark.parametrize(
    ("saga", "code"), [(succeeded("t"), 0), (unwound("t"), 1), (running("t", needs_operator=True), 1)]
)
def test_wait_tells_by_its_exit_code_how_the_saga_ended(
    sagaline: Sagaline, service: FakeService, saga: saga_pb2.Saga, code: int
) -> None:
    service.add(saga)
    result = sagaline("wait", "t", "-o", "json")
    assert result.exit_code == code
    assert json.loads(result.stdout)["saga_id"] == "t"


def test_wait_whose_time_is_over(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    result = sagaline("wait", "t", "--for", "1ms")
    assert result.exit_code == 5
    assert result.stderr == "error: saga t goes on: the time to wait is over\n"
    assert sagaline("wait", "t", "--for", "0s").exit_code == 2


def test_pause_resume_and_unwind_say_who_and_why(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    paused = sagaline("pause", "t", "--actor", "ann", "--reason", "look")
    assert paused.stdout == "t  running, paused\n"
    assert sagaline("resume", "t", "--actor", "ann", "--reason", "look").stdout == "t  running\n"
    unwinding = sagaline("unwind", "t", "--actor", "ann", "--reason", "look", "-o", "json")
    assert json.loads(unwinding.stdout)["state"] == "SAGA_STATE_UNWINDING"
    assert {(request.by.actor, request.by.reason) for request in service.requests} == {("ann", "look")}


def test_step_and_break_send_what_they_are_told(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    assert sagaline("step", "t").exit_code == 0
    assert sagaline("step", "t", "3").exit_code == 0
    assert sagaline("break", "t", "pay", "hotel/pick:undo", "*").exit_code == 0
    assert sagaline("break", "t").exit_code == 0
    one, three, points, none = service.requests
    assert (one.steps, three.steps) == (1, 3)
    assert [(point.node, point.kind) for point in points.breakpoints] == [
        ("pay", saga_pb2.INVOCATION_KIND_UNSPECIFIED),
        ("hotel/pick", saga_pb2.INVOCATION_KIND_UNDO),
        ("*", saga_pb2.INVOCATION_KIND_UNSPECIFIED),
    ]
    assert not none.breakpoints


def test_signal_sends_its_payload_with_a_request_id(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    assert sagaline("signal", "t", "approve", "--json", '{"by":"ann"}').exit_code == 0
    assert sagaline("signal", "t", "approve", "--request-id", "r1").exit_code == 0
    assert sagaline("signal", "t", "approve", "--json", "{").exit_code == 2
    first, second = service.requests
    assert (first.signal, first.payload.json) == ("approve", '{"by":"ann"}')
    assert first.request_id
    assert (second.payload.json, second.request_id) == ("null", "r1")


@pytest.mark.parametrize("command", [["step", "t", "0"], ["break", "t", ":undo"], ["break", "t", "pay:sideways"]])
def test_steps_and_breakpoints_that_are_none(sagaline: Sagaline, service: FakeService, command: list[str]) -> None:
    assert sagaline(*command).exit_code == 2
    assert service.requests == []


def test_the_actor_is_you_unless_said_otherwise(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    sagaline("pause", "t")
    assert "@" in service.requests[0].by.actor


@pytest.mark.parametrize(
    ("option", "resolution"),
    [
        (["--retry"], log_pb2.RESOLUTION_RETRY),
        (["--mark-undone"], log_pb2.RESOLUTION_MARK_UNDONE),
        (["--mark-failed"], log_pb2.RESOLUTION_MARK_FAILED),
        (["--output-json", '{"id":1}'], log_pb2.RESOLUTION_SUPPLY_OUTPUT),
    ],
)
def test_resolve_sends_the_decision(
    sagaline: Sagaline, service: FakeService, option: list[str], resolution: log_pb2.Resolution.ValueType
) -> None:
    service.add(running("t", needs_operator=True))
    assert sagaline("resolve", "t", "hotel/pick", *option, "--reason", "by hand").exit_code == 0
    [request] = service.requests
    assert (request.node, request.resolution, request.by.reason) == ("hotel/pick", resolution, "by hand")
    assert request.output.json == ('{"id":1}' if resolution == log_pb2.RESOLUTION_SUPPLY_OUTPUT else "")
    assert request.expected_log_length == 0


def test_resolve_sends_what_was_seen(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t", needs_operator=True))
    assert sagaline("resolve", "t", "pay", "--retry", "--seen", "14", "--reason", "it is mended").exit_code == 0
    assert service.requests[0].expected_log_length == 14


@pytest.mark.parametrize(
    "options",
    [
        ["--reason", "x"],
        ["--retry"],
        ["--retry", "--output-json", "1", "--reason", "x"],
        ["--output-json", "{", "--reason", "x"],
    ],
)
def test_resolve_needs_one_decision_and_a_reason(sagaline: Sagaline, service: FakeService, options: list[str]) -> None:
    assert sagaline("resolve", "t", "pay", *options).exit_code == 2
    assert service.requests == []


def test_get_lists_the_elements_of_maps_and_how_far_their_map_is(sagaline: Sagaline, service: FakeService) -> None:
    service.add(fleet())
    lines = sagaline("get", "f-1").stdout.split("\n\n")[1].splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["servers[0]/reserve", "servers[0]", "servers[1]/reserve"]
    assert lines[5].split() == ["servers", "pending", "map", *["its", "elements:", "1", "of", "2", "have", "ended"]]
