"""create."""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

import pytest
from google.protobuf import json_format
from google.rpc import code_pb2

from sagaline.v1 import payload_pb2, saga_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService, status
from tests.unit.cli.samples import graph, succeeded, unwound

PROGRAM = "tests.unit.cli.program:GRAPH"


def spec_json(**fields: object) -> str:
    return json_format.MessageToJson(saga_pb2.SagaSpec(graph=graph(), **fields))  # type: ignore[arg-type]


def test_a_saga_from_a_file(sagaline: Sagaline, service: FakeService, tmp_path: Path) -> None:
    path = tmp_path / "trip.json"
    path.write_text(spec_json(saga_id="t-9", labels={"team": "a"}))
    result = sagaline("create", str(path))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "t-9\n", "")
    [request] = service.requests
    assert request.saga == saga_pb2.SagaSpec(saga_id="t-9", graph=graph(), labels={"team": "a"})


def test_a_file_may_be_the_request_that_other_clients_send(sagaline: Sagaline, service: FakeService) -> None:
    result = sagaline("create", "-", input=f'{{"saga": {spec_json(saga_id="t-9")}}}')
    assert result.stdout == "t-9\n"
    assert service.requests[0].saga.graph == graph()


def test_a_program_that_raises_is_told_by_its_line(
    sagaline_offline: Sagaline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raising_program.py").write_text("import json\n\njson.loads('{')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    result = sagaline_offline("create", "raising_program:graph")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "raising_program.py, line 3: JSONDecodeError" in result.stderr


def test_a_saga_from_standard_input_with_options(sagaline: Sagaline, service: FakeService) -> None:
    options = ["--id", "t-8", "--label", "env=test", "--scope", "rack/1", "--deadline", "90s", "--start-delay", "1s"]
    result = sagaline("create", "-", *options, "--paused", "--params", "[1]", input=spec_json(labels={"team": "a"}))
    assert result.stdout == "t-8\n"
    [request] = service.requests
    expected = saga_pb2.SagaSpec(
        saga_id="t-8",
        graph=graph(),
        params=payload_pb2.Payload(json="[1]"),
        labels={"team": "a", "env": "test"},
        scopes=["rack/1"],
        start_paused=True,
    )
    expected.deadline.FromSeconds(90)
    expected.start_delay.FromSeconds(1)
    assert request.saga == expected


def test_a_saga_of_a_python_graph(sagaline: Sagaline, service: FakeService, tmp_path: Path) -> None:
    params = tmp_path / "params.json"
    params.write_text('{"city": "Oslo", "extra": 1}')
    result = sagaline("create", PROGRAM, "--params", f"@{params}")
    assert uuid.UUID(result.stdout.strip()).version == 7
    [request] = service.requests
    assert request.saga.graph.nodes[0].action.action == "hotels.book"
    assert request.saga.params.json == '{"city":"Oslo","days":1}'  # as the graph's type has it, defaults and all


def test_the_same_saga_again(sagaline: Sagaline, service: FakeService) -> None:
    service.add(succeeded("t"))
    result = sagaline("create", "-", "--id", "t", input=spec_json())
    assert (result.exit_code, result.stdout) == (0, "t\n")
    assert "was there already" in result.stderr
    as_json = json.loads(sagaline("create", "-", "--id", "t", "-o", "json", input=spec_json()).stdout)
    assert (as_json["existed"], as_json["saga"]["saga_id"]) == (True, "t")


@pytest.mark.parametrize(("saga", "code"), [(succeeded("t"), 0), (unwound("t"), 1)])
def test_create_can_wait_for_the_end(sagaline: Sagaline, service: FakeService, saga: saga_pb2.Saga, code: int) -> None:
    service.add(saga)
    result = sagaline("create", "-", "--id", "t", "--wait", "-o", "json", input=spec_json())
    assert result.exit_code == code
    assert json.loads(result.stdout)["state"] == saga_pb2.SagaState.Name(saga.state)


def test_a_refused_saga_prints_nothing_on_standard_output(sagaline: Sagaline, service: FakeService) -> None:
    service.refusal = status(code_pb2.INVALID_ARGUMENT, "BAD_GRAPH", "the graph is refused")
    result = sagaline("create", "-", input=spec_json())
    assert (result.exit_code, result.stdout) == (4, "")


@pytest.mark.parametrize(
    ("arguments", "text", "problem"),
    [
        (["nowhere.json"], "", "cannot read nowhere.json"),
        (["-"], "{", "is not the JSON of a SagaSpec"),
        (["-"], '{"graf": {}}', 'no field named "graf"'),
        (["-", "--params", "{"], "{}", "--params is not JSON"),
        (["-", "--params", "@nowhere"], "{}", "cannot read nowhere"),
        ([PROGRAM, "--params", '{"town": 1}'], "", "city"),
        (["tests.unit.cli.program:ACTIONS"], "", "is a list, not a graph"),
        (["tests.unit.cli.program:NOBODY"], "", "cannot load"),
        (["tests.unit.cli.program:GRAHP"], "", "did you mean GRAPH?"),
        (["tests.unit.cli.no_such:GRAPH"], "", "there is no module 'tests.unit.cli.no_such' in "),
        (["order.py"], "", "name the graph in it, as in order:graph"),
        (["-", "--params", "Ann"], "{}", """a text has quotes of its own, as in --params '"Ann"'"""),
        ([PROGRAM], "", "give them with --params"),
        (["-", "--address", "nowhere"], "{}", "give HOST:PORT"),
        (["tests.unit.cli.program:"], "", "MODULE:ATTR"),
    ],
)
def test_what_cannot_be_used_is_told_before_anything_is_sent(
    sagaline: Sagaline, service: FakeService, arguments: list[str], text: str, problem: str
) -> None:
    result = sagaline("create", *arguments, input=text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert problem in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert service.requests == []
