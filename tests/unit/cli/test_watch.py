"""log and watch, off a terminal and on one."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from sagaline.cli.tree import saga_tree
from sagaline.v1 import saga_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import fleet, log, succeeded, unwound


def test_log_prints_one_entry_a_line(sagaline: Sagaline, service: FakeService) -> None:
    service.add(succeeded("t"), log())
    lines = sagaline("log", "t").stdout.splitlines()
    assert len(lines) == 6
    assert (
        lines[1]
        == "    2  2026-01-01 00:00:00.000Z  attempt started       pay                   attempt 1 on worker w-1"
    )


@pytest.mark.parametrize("command", [["log"], ["log", "--follow"], ["watch"]])
def test_json_is_one_entry_a_line_from_the_entry_asked_for(
    sagaline: Sagaline, service: FakeService, command: list[str]
) -> None:
    service.add(succeeded("t"), log())
    result = sagaline(*command, "t", "--from", "3", "-o", "json")
    assert result.exit_code == 0
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert [entry["seq"] for entry in entries] == ["3", "4", "5", "6"]
    assert entries[0]["node_succeeded"] == {"node": "pay", "attempt": 1}


def test_watch_off_a_terminal_prints_lines_and_tells_the_end_by_its_exit_code(
    sagaline: Sagaline, service: FakeService
) -> None:
    service.add(unwound("t"), log())
    result = sagaline("watch", "t")
    assert result.exit_code == 1
    assert len(result.stdout.splitlines()) == 6
    assert "\x1b" not in result.stdout


# ---- the tree


def drawn(saga: saga_pb2.Saga, lines: int = 100, width: int = 100) -> list[str]:
    screen = Console(file=io.StringIO(), width=width, markup=False, highlight=False)
    with screen.capture() as capture:
        screen.print(saga_tree(saga, lines=lines))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_nodes_of_a_subsaga_are_below_it() -> None:
    assert drawn(unwound()) == [
        "trip  t-1  unwound  3.2s  Full: no room",
        "├── pay       undone         payments.charge  attempt 1, undo 2",
        "├── hotel     failed         subsaga",
        "│   └── pick  failed         hotels.pick  attempt 3; Full: no room",
        "└── confirm   abandoned      trips.confirm",
    ]


def test_the_elements_of_a_map_are_below_it() -> None:
    assert drawn(fleet()) == [
        "fleet  f-1  running  3.2s",
        "├── servers          pending        map  its elements: 1 of 2 have ended",
        "│   ├── [0]          succeeded      subsaga",
        "│   │   └── reserve  succeeded      take  7",
        "│   └── [1]          pending        subsaga",
        "│       └── reserve  running        take",
        "└── names            pending        map",
    ]


def test_an_element_whose_map_is_not_drawn_has_its_full_name() -> None:
    saga = fleet()
    del saga.nodes[4]
    assert any("servers[0]" in line for line in drawn(saga))


def test_a_node_whose_subsaga_is_not_drawn_has_its_full_name() -> None:
    saga = unwound()
    del saga.nodes[1]
    assert any("hotel/pick" in line for line in drawn(saga))


def test_where_there_are_too_many_nodes_those_at_which_something_happens_are_drawn() -> None:
    nodes = [saga_pb2.NodeView(name=f"n{number}", status=saga_pb2.NODE_STATUS_SUCCEEDED) for number in range(50)]
    nodes[30].status = saga_pb2.NODE_STATUS_RUNNING
    nodes[40].status = saga_pb2.NODE_STATUS_PENDING
    lines = drawn(saga_pb2.Saga(graph_name="g", nodes=nodes), lines=3)
    assert [line.split()[1] for line in lines[1:4]] == ["n0", "n30", "n40"]
    assert lines[4] == "└── and 47 succeeded"


def test_names_cannot_draw_anything() -> None:
    node = saga_pb2.NodeView(name="[bold]\x1b[2J", status=saga_pb2.NODE_STATUS_RUNNING, waiting_for="\x07\n")
    lines = drawn(saga_pb2.Saga(graph_name="[red]g", nodes=[node]))
    assert lines[0].startswith("[red]g")
    assert "[bold]\\x1b[2J" in lines[1]
    assert lines[1].endswith("\\x07\\n")


def test_long_lines_are_cut_to_the_screen() -> None:
    assert max(len(line) for line in drawn(unwound(), width=40)[1:]) <= 40
