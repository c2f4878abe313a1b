"""A SagaService and AdminService that hold a few sagas, for commands to be run against."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import code_pb2, error_details_pb2, status_pb2

from sagaline.client.status import DETAILS_KEY
from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2, saga_service_pb2, worker_service_pb2
from tests.unit.client.serving import ADMIN_SERVICE, SAGA_SERVICE, handlers

PAGE = 2


class FakeService:
    """Sagas by id, with their logs. What a command sends is in `requests`."""

    def __init__(self) -> None:
        self.sagas: dict[str, saga_pb2.Saga] = {}
        self.logs: dict[str, list[log_pb2.LogEntry]] = {}
        self.records: dict[str, log_pb2.SagaRecord] = {}
        self.workers: list[admin_service_pb2.WorkerStatus] = []
        self.waits: list[admin_service_pb2.NodeWait] = []
        self.log_length = 0
        self.secs: list[admin_service_pb2.SecStatus] = []
        self.limits: list[admin_service_pb2.Limit] = []
        self.points: list[admin_service_pb2.ActionBreakpoint] = []
        self.owner = worker_service_pb2.Sec()
        self.refusal: status_pb2.Status | None = None
        self.requests: list[Any] = []

    def add(self, saga: saga_pb2.Saga, entries: list[log_pb2.LogEntry] | None = None) -> None:
        saga.log_length = len(entries or [])
        self.sagas[saga.saga_id] = saga
        self.logs[saga.saga_id] = entries or []

    def CreateSaga(self, request: Any, context: Any) -> saga_service_pb2.CreateSagaResponse:
        self._begin(request, context)
        saga_id = request.saga.saga_id
        existed = saga_id in self.sagas
        if not existed:
            self.add(saga_pb2.Saga(saga_id=saga_id, graph_name="trip", state=saga_pb2.SAGA_STATE_RUNNING))
        return saga_service_pb2.CreateSagaResponse(saga=self.sagas[saga_id], existed=existed)

    def RunSaga(self, request: Any, context: Any) -> saga_service_pb2.RunSagaResponse:
        created = self.CreateSaga(request, context)
        return saga_service_pb2.RunSagaResponse(saga=created.saga, existed=created.existed)

    def GetSaga(self, request: Any, context: Any) -> saga_service_pb2.GetSagaResponse:
        return saga_service_pb2.GetSagaResponse(saga=self._find(request, context))

    def WaitSaga(self, request: Any, context: Any) -> saga_service_pb2.WaitSagaResponse:
        return saga_service_pb2.WaitSagaResponse(saga=self._find(request, context))

    def ListSagas(self, request: Any, context: Any) -> saga_service_pb2.ListSagasResponse:
        self._begin(request, context)
        start = int(request.page_token or "0")
        sagas = list(self.sagas.values())
        more = str(start + PAGE) if start + PAGE < len(sagas) else ""
        return saga_service_pb2.ListSagasResponse(sagas=sagas[start : start + PAGE], next_page_token=more)

    def CountSagas(self, request: Any, context: Any) -> saga_service_pb2.CountSagasResponse:
        self._begin(request, context)
        response = saga_service_pb2.CountSagasResponse()
        for state in sorted({saga.state for saga in self.sagas.values()}):
            response.counts.add(state=state, count=sum(saga.state == state for saga in self.sagas.values()))
        return response

    def BatchControlSagas(self, request: Any, context: Any) -> saga_service_pb2.BatchControlSagasResponse:
        self._begin(request, context)
        start = int(request.page_token or "0")
        ids = list(self.sagas)
        part = ids[start : start + PAGE]
        return saga_service_pb2.BatchControlSagasResponse(
            saga_ids=[saga_id for saga_id in part if saga_id != "refuses"],
            refused={saga_id: "PIVOT_PASSED" for saga_id in part if saga_id == "refuses"},
            next_page_token=str(start + PAGE) if start + PAGE < len(ids) else "",
        )

    def GetSagaLog(self, request: Any, context: Any) -> saga_service_pb2.GetSagaLogResponse:
        entries = self._entries(request, context)
        following = entries[0].seq + PAGE if len(entries) > PAGE else 0
        record = self.records.get(request.saga_id) if request.from_seq == 1 else None
        return saga_service_pb2.GetSagaLogResponse(entries=entries[:PAGE], next_seq=following, record=record)

    def WatchSaga(self, request: Any, context: Any) -> Iterator[saga_service_pb2.WatchSagaResponse]:
        for entry in self._entries(request, context):
            yield saga_service_pb2.WatchSagaResponse(entries=[entry], state=self.sagas[request.saga_id].state)

    def PauseSaga(self, request: Any, context: Any) -> saga_service_pb2.PauseSagaResponse:
        saga = self._find(request, context)
        saga.paused = True
        return saga_service_pb2.PauseSagaResponse(saga=saga)

    def ResumeSaga(self, request: Any, context: Any) -> saga_service_pb2.ResumeSagaResponse:
        saga = self._find(request, context)
        saga.paused = False
        return saga_service_pb2.ResumeSagaResponse(saga=saga)

    def StepSaga(self, request: Any, context: Any) -> saga_service_pb2.StepSagaResponse:
        return saga_service_pb2.StepSagaResponse(saga=self._find(request, context))

    def SetBreakpoints(self, request: Any, context: Any) -> saga_service_pb2.SetBreakpointsResponse:
        return saga_service_pb2.SetBreakpointsResponse(saga=self._find(request, context))

    def UnwindSaga(self, request: Any, context: Any) -> saga_service_pb2.UnwindSagaResponse:
        saga = self._find(request, context)
        saga.state = saga_pb2.SAGA_STATE_UNWINDING
        return saga_service_pb2.UnwindSagaResponse(saga=saga)

    def SignalSaga(self, request: Any, context: Any) -> saga_service_pb2.SignalSagaResponse:
        return saga_service_pb2.SignalSagaResponse(saga=self._find(request, context))

    def ResolveNode(self, request: Any, context: Any) -> saga_service_pb2.ResolveNodeResponse:
        return saga_service_pb2.ResolveNodeResponse(saga=self._find(request, context))

    def ListWorkers(self, request: Any, context: Any) -> admin_service_pb2.ListWorkersResponse:
        self._begin(request, context)
        return admin_service_pb2.ListWorkersResponse(workers=self.workers)

    def ExplainSaga(self, request: Any, context: Any) -> admin_service_pb2.ExplainSagaResponse:
        self._find(request, context)
        return admin_service_pb2.ExplainSagaResponse(waits=self.waits, log_length=self.log_length)

    def ListSecs(self, request: Any, context: Any) -> admin_service_pb2.ListSecsResponse:
        self._begin(request, context)
        return admin_service_pb2.ListSecsResponse(secs=self.secs)

    def InjectFault(self, request: Any, context: Any) -> saga_service_pb2.InjectFaultResponse:
        return saga_service_pb2.InjectFaultResponse(saga=self._find(request, context))

    def QuarantineSaga(self, request: Any, context: Any) -> admin_service_pb2.QuarantineSagaResponse:
        return admin_service_pb2.QuarantineSagaResponse(saga=self._find(request, context))

    def ReleaseSaga(self, request: Any, context: Any) -> admin_service_pb2.ReleaseSagaResponse:
        return admin_service_pb2.ReleaseSagaResponse(saga=self._find(request, context))

    def HandOff(self, request: Any, context: Any) -> admin_service_pb2.HandOffResponse:
        self._find(request, context)
        return admin_service_pb2.HandOffResponse(owner=self.owner, epoch=2)

    def SetLimit(self, request: Any, context: Any) -> admin_service_pb2.SetLimitResponse:
        self._begin(request, context)
        return admin_service_pb2.SetLimitResponse(limit=request.limit)

    def ListLimits(self, request: Any, context: Any) -> admin_service_pb2.ListLimitsResponse:
        self._begin(request, context)
        return admin_service_pb2.ListLimitsResponse(limits=self.limits)

    def SetActionBreakpoint(self, request: Any, context: Any) -> admin_service_pb2.SetActionBreakpointResponse:
        self._begin(request, context)
        return admin_service_pb2.SetActionBreakpointResponse(breakpoint=request.breakpoint)

    def ClearActionBreakpoint(self, request: Any, context: Any) -> admin_service_pb2.ClearActionBreakpointResponse:
        self._begin(request, context)
        return admin_service_pb2.ClearActionBreakpointResponse()

    def ListActionBreakpoints(self, request: Any, context: Any) -> admin_service_pb2.ListActionBreakpointsResponse:
        self._begin(request, context)
        return admin_service_pb2.ListActionBreakpointsResponse(breakpoints=self.points)

    def DrainSec(self, request: Any, context: Any) -> admin_service_pb2.DrainSecResponse:
        self._begin(request, context)
        return admin_service_pb2.DrainSecResponse()

    def _begin(self, request: Any, context: Any) -> None:
        self.requests.append(request)
        if self.refusal is not None:
            _abort(context, self.refusal)

    def _find(self, request: Any, context: Any) -> saga_pb2.Saga:
        self._begin(request, context)
        saga = self.sagas.get(request.saga_id)
        if saga is None:
            refusal = status(code_pb2.NOT_FOUND, "SAGA_NOT_FOUND", f"there is no saga {request.saga_id}")
            _abort(context, refusal)
        return saga

    def _entries(self, request: Any, context: Any) -> list[log_pb2.LogEntry]:
        self._find(request, context)
        return [entry for entry in self.logs[request.saga_id] if entry.seq >= request.from_seq]


def status(code: int, reason: str, message: str, *details: Message) -> status_pb2.Status:
    """Return a refusal as a SEC words it."""
    info = error_details_pb2.ErrorInfo(reason=reason, domain="sagaline.dev")
    packed = []
    for detail in (info, *details):
        packed.append(AnyMessage())
        packed[-1].Pack(detail)
    return status_pb2.Status(code=code, message=message, details=packed)


def _abort(context: Any, refusal: status_pb2.Status) -> NoReturn:
    code = next(code for code in grpc.StatusCode if code.value[0] == refusal.code)
    context.set_trailing_metadata(((DETAILS_KEY, refusal.SerializeToString()),))
    context.abort(code, refusal.message)
    raise AssertionError("abort raises")


def serve(service: FakeService) -> tuple[grpc.Server, str]:
    """Return a started server of the fake and its address. The caller stops it."""
    server = grpc.server(ThreadPoolExecutor(max_workers=4), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(SAGA_SERVICE, service), handlers(ADMIN_SERVICE, service)))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, f"127.0.0.1:{port}"
