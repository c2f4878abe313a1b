"""graph."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf import json_format

from sagaline.v1 import saga_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import graph, unwound


def test_the_graph_of_a_saga_with_its_statuses(sagaline: Sagaline, service: FakeService) -> None:
    service.add(unwound("t"))
    assert sagaline("graph", "t").stdout.splitlines()[0:2] == ["trip", "  pay      payments.charge@2, pivot  undone"]
    assert 'fillcolor=lightgrey, tooltip="undone"' in sagaline("graph", "t", "--as", "dot").stdout


@pytest.mark.parametrize("message", [graph(), saga_pb2.SagaSpec(graph=graph())])
def test_the_graph_of_a_file(
    sagaline_offline: Sagaline, tmp_path: Path, message: saga_pb2.Graph | saga_pb2.SagaSpec
) -> None:
    text = json_format.MessageToJson(message)
    path = tmp_path / "trip.json"
    path.write_text(text)
    as_json = sagaline_offline("graph", str(path), "-o", "json").stdout
    assert json_format.Parse(as_json, saga_pb2.Graph()) == graph()
    assert sagaline_offline("graph", "-", input=text).stdout.startswith("trip\n  pay")
    other = path.rename(tmp_path / "trip")
    assert sagaline_offline("graph", "--file", str(other), "--as", "dot").stdout.startswith('digraph "trip"')


def test_the_graph_of_a_program(sagaline_offline: Sagaline) -> None:
    lines = sagaline_offline("graph", "tests.unit.cli.program:GRAPH").stdout.splitlines()
    assert lines == ["trip", "  hotel  hotels.book@1, nothing to undo"]


@pytest.mark.parametrize(
    ("source", "text", "problem"),
    [
        ("-", "[]", "is not the JSON"),
        ("-", '{"nodes": 1}', "JSON of a Graph"),
        ("tests.unit.cli.program:book", "", "Action"),
    ],
)
def test_what_is_no_graph(sagaline_offline: Sagaline, source: str, text: str, problem: str) -> None:
    result = sagaline_offline("graph", source, input=text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
