"""The commands `count` and `batch`."""

from __future__ import annotations

import pytest

from sagaline.v1 import saga_pb2, saga_service_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService


@pytest.fixture
def three(service: FakeService) -> FakeService:
    for saga_id, state in (("a", "RUNNING"), ("b", "SUCCEEDED"), ("c", "RUNNING")):
        service.add(saga_pb2.Saga(saga_id=saga_id, state=saga_pb2.SagaState.Value(f"SAGA_STATE_{state}")))
    return service


def test_count(sagaline: Sagaline, three: FakeService) -> None:
    result = sagaline("count", "--graph", "trip", "--state", "running")
    assert result.exit_code == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["STATE", "SAGAS"],
        ["running", "2"],
        ["succeeded", "1"],
        ["all", "3"],
    ]
    assert three.requests[0].filter.graph_name == "trip"
    assert '"count"' in sagaline("count", "-o", "json").stdout


@pytest.mark.parametrize("control", ["pause", "resume", "unwind"])
def test_a_batch_goes_through_all_pages(sagaline: Sagaline, three: FakeService, control: str) -> None:
    result = sagaline("batch", control, "--label", "team=a", "--actor", "ann", "--reason", "look")
    assert (result.exit_code, result.stdout) == (0, "3 sagas, 0 refused\n")
    assert result.stderr == "2 so far\n"
    wanted = saga_service_pb2.BatchControl.Value(f"BATCH_CONTROL_{control.upper()}")
    assert [(request.control, request.page_token) for request in three.requests] == [(wanted, ""), (wanted, "2")]
    assert (three.requests[0].by.actor, three.requests[0].by.reason) == ("ann", "look")
    assert dict(three.requests[0].filter.labels) == {"team": "a"}


def test_what_refuses_is_told(sagaline: Sagaline, three: FakeService) -> None:
    three.add(saga_pb2.Saga(saga_id="refuses"))
    result = sagaline("batch", "unwind", "--graph", "trip")
    assert (result.exit_code, result.stdout) == (4, "3 sagas, 1 refused\n")
    assert "refuses  refused: PIVOT_PASSED" in result.stderr


def test_a_dry_run_changes_nothing(sagaline: Sagaline, three: FakeService) -> None:
    result = sagaline("batch", "unwind", "--scope", "rack/17", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, "2 sagas\n")
    assert [type(request) for request in three.requests] == [saga_service_pb2.CountSagasRequest]


def test_a_batch_over_everything_is_refused(sagaline: Sagaline, three: FakeService) -> None:
    assert sagaline("batch", "unwind").exit_code == 2
    assert three.requests == []
