"""AdminService: what it serves."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2
from tests.unit.api.conftest import Served
from tests.unit.api.specs import trip


async def test_workers_are_listed(served: Served) -> None:
    served.runtime.worker_statuses = [admin_service_pb2.WorkerStatus(worker_id="w1", connected=True)]
    response = await served.admin.ListWorkers(admin_service_pb2.ListWorkersRequest())
    assert [worker.worker_id for worker in response.workers] == ["w1"]


async def test_a_saga_is_explained(served: Served) -> None:
    await served.sagas.CreateSaga(saga_service_pb2.CreateSagaRequest(saga=trip("s1")))
    request = admin_service_pb2.ExplainSagaRequest(saga_id="s1")
    (wait,) = (await served.admin.ExplainSaga(request)).waits
    assert (wait.node, wait.kind) == ("pay", saga_pb2.INVOCATION_KIND_ACTION)
    served.runtime.run_on()
    assert not (await served.admin.ExplainSaga(request)).waits
