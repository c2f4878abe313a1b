"""A SEC that dies at any boundary around an append or a send loses nothing and doubles nothing."""

from __future__ import annotations

import pytest

from sagaline_server.runtime.crashpoints import POINTS
from tests.etcd_server import EtcdServer, etcd_server
from tests.failover.crashes.cases import Verdicts, cases, play
from tests.failover.crashes.stage import Case

__all__ = ["etcd_server"]

CASES = cases(thorough=False)
TEST = "test_a_crash_loses_nothing_and_doubles_nothing"


def selected(session: pytest.Session) -> list[Case]:
    """Return the cases whose tests are going to run."""
    tests = [item for item in session.items if isinstance(item, pytest.Function)]
    found = [test.callspec.params["case"] for test in tests if test.originalname == TEST]
    return [case for case in found if isinstance(case, Case)]


@pytest.fixture(scope="session")
def verdicts(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, etcd_server: EtcdServer
) -> Verdicts:
    """How every case went, played beside each other."""
    return play(selected(request.session), tmp_path_factory.mktemp("crashes"), etcd_server.endpoint, print)


@pytest.mark.timeout(600)
@pytest.mark.etcd
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_crash_loses_nothing_and_doubles_nothing(case: Case, verdicts: Verdicts) -> None:
    """Restarted on SQLite, taken over on etcd: every saga ends, with all of its effects or none, and a legal log."""
    error = verdicts[case]
    if error is not None:
        raise error


def test_every_point_is_crashed_at() -> None:
    """There is a case for every point that production code names."""
    assert {case.point.partition(":")[0] for case in CASES} == set(POINTS)
