"""dump and replay."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format

from sagaline.cli.dump import dump_lines
from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.wire.replay import saga_of_record
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import log, record, succeeded


def test_a_dump_is_the_record_and_then_every_entry(sagaline: Sagaline, service: FakeService, tmp_path: Path) -> None:
    service.add(succeeded("t"), log())
    service.records["t"] = record("t")
    path = tmp_path / "t.jsonl"
    result = sagaline("dump", "t", str(path))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "6 entries\n")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [list(line) for line in lines] == [["record"], *[["entry"]] * 6]
    assert json_format.ParseDict(lines[0]["record"], log_pb2.SagaRecord()) == record("t")
    entries = [json_format.ParseDict(line["entry"], log_pb2.LogEntry()) for line in lines[1:]]
    assert entries == log()


def test_a_dump_may_go_to_standard_output(sagaline: Sagaline, service: FakeService) -> None:
    service.add(succeeded("t"), log())
    service.records["t"] = record("t")
    assert len(sagaline("dump", "t", "-").stdout.splitlines()) == 7


def test_a_log_without_a_record_is_no_answer(sagaline: Sagaline, service: FakeService) -> None:
    service.add(succeeded("t"), log())
    result = sagaline("dump", "t", "-")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr == "error: the log came without the saga's record\n"


def test_a_saga_that_is_not_there_leaves_no_file(sagaline: Sagaline, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert sagaline("dump", "t", str(path)).exit_code == 3
    assert not path.exists()


@pytest.fixture
def trip_dump(tmp_path: Path) -> str:
    """A dump of a saga whose log is legal: its digest is that of its record."""
    made = record("t")
    for node in made.spec.graph.nodes:
        node.action.pivot = False
    del made.spec.graph.nodes[2]  # the subsaga: the log knows of pay and confirm alone
    del made.spec.graph.nodes[0].after[:]
    entries = log()
    entries[0].saga_created.digest = saga_of_record(made).digest
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(dump_lines(made, entries)))
    return str(path)


def test_a_replay_shows_the_state_after_the_last_entry(sagaline_offline: Sagaline, trip_dump: str) -> None:
    saga = json_format.Parse(sagaline_offline("replay", trip_dump, "-o", "json").stdout, saga_pb2.Saga())
    assert (saga.saga_id, saga.state) == ("t", saga_pb2.SAGA_STATE_SUCCEEDED)
    assert sagaline_offline("replay", trip_dump).stdout.startswith("saga:      t\n")


@pytest.mark.parametrize(
    ("seq", "pay", "confirm"),
    [
        (1, "PENDING", "PENDING"),
        (2, "RUNNING", "PENDING"),
        (3, "SUCCEEDED", "PENDING"),
        (4, "SUCCEEDED", "RUNNING"),
        (5, "SUCCEEDED", "SUCCEEDED"),
        (99, "SUCCEEDED", "SUCCEEDED"),
    ],
)
def test_a_replay_shows_the_state_after_any_entry(
    sagaline_offline: Sagaline, trip_dump: str, seq: int, pay: str, confirm: str
) -> None:
    result = sagaline_offline("replay", trip_dump, "--to", str(seq), "-o", "json")
    nodes = {node["name"]: node["status"] for node in json.loads(result.stdout)["nodes"]}
    assert nodes == {"pay": f"NODE_STATUS_{pay}", "confirm": f"NODE_STATUS_{confirm}"}


def test_a_replay_measures_ages_by_the_log(sagaline_offline: Sagaline, trip_dump: str) -> None:
    assert "age:      0ms" in sagaline_offline("replay", trip_dump, "--to", "2").stdout.splitlines()


def test_a_file_that_cannot_be_replayed(sagaline_offline: Sagaline, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('{"entry": {}}\n')
    result = sagaline_offline("replay", str(path))
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"error: {path} cannot be replayed: line 1: ")
    assert sagaline_offline("replay", "nowhere").exit_code == 2
    assert sagaline_offline("replay", str(path), "--to", "0").exit_code == 2
