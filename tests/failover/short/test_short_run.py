"""A short form of `make failover`: one schedule of faults under load, and figures on less of everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.failover.figures import hand_off, rolling
from tests.failover.run import run_once
from tests.failover.schedule import make_schedule

pytestmark = [pytest.mark.etcd, pytest.mark.timeout(300)]

SEED = 1
SECONDS = 10.0
SAGAS = 150


async def test_a_run_leaves_all_or_nothing(tmp_path: Path) -> None:
    """SECs, workers, connections and etcd fail by a seed; then everything ends, and every log and effect is right."""
    report = await run_once(make_schedule(SEED, SECONDS), tmp_path, sagas=SAGAS, seconds=SECONDS, say=print)
    assert report.sagas == SAGAS
    assert not report.problems, "\n".join(report.problems)
    assert report.is_right


async def test_running_sagas_are_handed_off_and_nothing_runs_twice(tmp_path: Path) -> None:
    figure = await hand_off.measure(tmp_path, 100)
    assert not figure.problems
    assert figure.values["succeeded"] == 100


async def test_a_rolling_restart_is_noticed_by_nobody(tmp_path: Path) -> None:
    figure = await rolling.measure(tmp_path, 1)
    assert not figure.problems
    assert figure.values["failed_requests"] == 0
