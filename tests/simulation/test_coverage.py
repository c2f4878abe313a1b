"""The workload has every feature: each is drawn within a few hundred seeds."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from sagaline_server.core.validate import check_graph
from sagaline_server.wire.specs import graph_from
from tests.simulation.coverage import DRAWN, drawn, missing, table
from tests.simulation.options import draw
from tests.simulation.plans import Planner

SEEDS = 300
ELSEWHERE = ("acknowledgements", "calm", "fencing", "handing_off", "injected", "retention", "runs", "watches")
"""Checkers of promises that are no invariant of an execution: of the protocol, of ownership, of what clients see."""


def test_every_feature_is_drawn() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SEEDS):
        counts.update(drawn(seed))
    assert not missing(DRAWN, counts), table(DRAWN, counts, SEEDS)
    assert set(counts) <= set(DRAWN), "what is counted has a name in the table"


def test_every_graph_fits() -> None:
    for seed in range(SEEDS):
        for plan in Planner(draw(seed)).draw():
            assert not check_graph(graph_from(plan.spec.graph)), seed


README = Path(__file__).with_name("README.md").read_text()
NAMED = sorted(set(re.findall(r"`((?:checkers|tests)/[\w./]+\.py)`", README)))


def test_every_invariant_has_its_line() -> None:
    lines = re.findall(r"^\| (\d+) \| ", README, re.MULTILINE)
    assert [int(number) for number in lines] == list(range(1, 39))


@pytest.mark.parametrize("path", NAMED)
def test_what_is_named_is_there(path: str) -> None:
    folder = Path(__file__).parent if path.startswith("checkers/") else Path(__file__).resolve().parents[2]
    assert (folder / path).is_file()


def test_every_checker_is_named() -> None:
    there = {f"checkers/{path.name}" for path in (Path(__file__).parent / "checkers").glob("*.py")}
    no_promise = {"checkers/__init__.py", "checkers/checker.py", "checkers/alike.py"}
    elsewhere = {f"checkers/{name}.py" for name in ELSEWHERE}
    assert there - no_promise == {path for path in NAMED if path.startswith("checkers/")} | elsewhere
