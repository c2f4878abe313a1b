"""The simulator bites: every planted bug is caught within a few hundred seeds."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.running import simulate

SEEDS = 400


@pytest.fixture(scope="module")
def hunted() -> str:
    return simulate("--mutants", "all", "--seeds", str(SEEDS), "--jobs", "2").stdout


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_caught(hunted: str, name: str) -> None:
    assert f"SIMULATE MUTANT {name} caught " in hunted, hunted


def test_a_caught_bug_ends_the_command_with_1() -> None:
    done = simulate("--mutant", "send-before-durable", "--seeds", "5")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("SIMULATE MUTANT send-before-durable caught seed=0 ")


def test_a_planted_bug_is_gone_after_its_run() -> None:
    for mutant in MUTANTS.values():
        before = [vars(owner)[name] for owner, name, _ in mutant.patches()]
        with mutant.planted():
            pass
        after = [vars(owner)[name] for owner, name, _ in mutant.patches()]
        assert before == after


def test_planted_bugs_are_listed() -> None:
    listed = simulate("--mutants", "list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(MUTANTS)
