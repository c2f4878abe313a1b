"""AdminService: what operators ask of one SEC."""

from __future__ import annotations

from typing import Any

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import admin_service_pb2_grpc
from sagaline_server.api.errors import refuse
from sagaline_server.api.handlers import Context
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.api.unserved import unserved
from sagaline_server.core.validate import check_saga_id


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """What operators use."""

    def __init__(self, runtime: SagaRuntime) -> None:
        """Make the service of one SEC."""
        self._runtime = runtime

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(workers=self._runtime.workers())

    async def ExplainSaga(self, request: pb.ExplainSagaRequest, context: Context) -> pb.ExplainSagaResponse:
        refuse(check_saga_id(request.saga_id))
        return pb.ExplainSagaResponse(waits=await self._runtime.explain(request.saga_id))

    ListSecs: Any = unserved
    HandOff: Any = unserved
    DrainSec: Any = unserved
    SetLimit: Any = unserved
    ListLimits: Any = unserved
    QuarantineSaga: Any = unserved
    ReleaseSaga: Any = unserved
