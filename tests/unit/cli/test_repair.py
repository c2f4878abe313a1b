"""The commands that make a saga go wrong, set it aside and take it back."""

from __future__ import annotations

import pytest

from sagaline.v1 import admin_service_pb2, log_pb2, saga_service_pb2
from tests.unit.cli.conftest import Sagaline
from tests.unit.cli.fake_service import FakeService
from tests.unit.cli.samples import running

WHO = ("--actor", "ann", "--reason", "test")


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("action-error", log_pb2.FAULT_KIND_ACTION_ERROR),
        ("undo-error", log_pb2.FAULT_KIND_UNDO_ERROR),
        ("repeat", log_pb2.FAULT_KIND_REPEAT),
        ("crash", log_pb2.FAULT_KIND_CRASH_BEFORE_RESULT),
    ],
)
def test_inject(sagaline: Sagaline, service: FakeService, name: str, fault: log_pb2.FaultKind.ValueType) -> None:
    service.add(running("t"))
    assert sagaline("inject", "t", "hotel", name, "--times", "3", *WHO).exit_code == 0
    by = saga_service_pb2.Attribution(actor="ann", reason="test")
    assert service.requests[-1] == saga_service_pb2.InjectFaultRequest(
        saga_id="t", node="hotel", fault=fault, times=3, by=by
    )


def test_quarantine_and_release(sagaline: Sagaline, service: FakeService) -> None:
    service.add(running("t"))
    assert sagaline("admin", "quarantine", "t", *WHO).exit_code == 0
    assert service.requests[-1] == admin_service_pb2.QuarantineSagaRequest(saga_id="t", actor="ann", reason="test")
    assert sagaline("admin", "release", "t", *WHO).exit_code == 0
    assert service.requests[-1] == admin_service_pb2.ReleaseSagaRequest(saga_id="t", actor="ann", reason="test")
    assert sagaline("admin", "release", "t").exit_code != 0, "why is asked"
