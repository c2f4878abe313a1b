"""A short run of `make simulate`, and what the simulator itself promises: the seed decides everything."""

from __future__ import annotations

import re

import pytest

from tests.simulation.running import simulate


@pytest.mark.timeout(300)
def test_no_seed_breaks_a_promise() -> None:
    done = simulate("--seeds", "100", "--jobs", "2")
    assert done.returncode == 0, done.stdout
    assert re.search(r"^SIMULATE OK seeds=100 violations=0 seeds_per_min=\d+$", done.stdout.splitlines()[-1])


def test_a_seed_always_does_the_same() -> None:
    one, other = simulate("--seed", "62"), simulate("--seed", "62")
    assert one.returncode == 0, one.stdout
    assert one.stdout == other.stdout
    assert one.stdout.startswith("seed 62: "), "what was drawn is told first"


@pytest.mark.timeout(300)
def test_seeds_do_the_same_in_any_process() -> None:
    """Whatever is real, the time, an address, a network, shows in one of them sooner or later."""
    seeds = ("--seeds", "12", "--first", "465", "--digests")
    one, other = simulate(*seeds), simulate(*seeds, "--jobs", "2")
    assert one.returncode == 0, one.stdout
    assert one.stdout.splitlines()[:-1] == other.stdout.splitlines()[:-1]


def test_a_seed_that_fails_is_told_with_the_command_that_repeats_it() -> None:
    done = simulate("--seed", "0", "--mutant", "ack-before-durable")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == "SIMULATE FAILED seed=0"
    assert "acknowledgements at " in done.stdout
