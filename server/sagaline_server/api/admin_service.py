"""AdminService: what operators ask of one SEC."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import admin_service_pb2_grpc
from sagaline_server.api import breaking, checks, limiting, ordering
from sagaline_server.api.errors import refusal, refuse
from sagaline_server.api.handlers import Context
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.validate import check_saga_id
from sagaline_server.ports.clock import Clock
from sagaline_server.runtime.requests import RequestRefused
from sagaline_server.wire.times import to_seconds


class AdminService(admin_service_pb2_grpc.AdminServiceServicer):
    """What operators use."""

    def __init__(self, runtime: SagaRuntime, clock: Clock) -> None:
        """Make the service of one SEC."""
        self._runtime = runtime
        self._clock = clock

    async def ListWorkers(self, request: pb.ListWorkersRequest, context: Context) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(workers=self._runtime.workers())

    async def ExplainSaga(self, request: pb.ExplainSagaRequest, context: Context) -> pb.ExplainSagaResponse:
        refuse(check_saga_id(request.saga_id))
        return await self._runtime.explain(request.saga_id)

    async def ListSecs(self, request: pb.ListSecsRequest, context: Context) -> pb.ListSecsResponse:
        return pb.ListSecsResponse(secs=self._runtime.secs())

    async def HandOff(self, request: pb.HandOffRequest, context: Context) -> pb.HandOffResponse:
        refuse(
            check_saga_id(request.saga_id) + checks.at_most_chars(request.to_sec_id, limits.SEC_ID_CHARS, "to_sec_id")
        )
        with _about_sec(request.to_sec_id):
            owner, epoch = await self._runtime.hand_off(request.saga_id, request.to_sec_id)
        return pb.HandOffResponse(owner=owner, epoch=epoch)

    async def DrainSec(self, request: pb.DrainSecRequest, context: Context) -> pb.DrainSecResponse:
        problems = checks.at_most_chars(request.sec_id, limits.SEC_ID_CHARS, "sec_id")
        timeout = limits.DRAIN_SECONDS_DEFAULT
        if request.HasField("timeout"):
            problems += checks.span(request.timeout, "timeout", limits.DRAIN_SECONDS_MAX)
            timeout = to_seconds(request.timeout)
        refuse(problems)
        with _about_sec(request.sec_id):
            await self._runtime.drain(request.sec_id, timeout)
        return pb.DrainSecResponse()

    async def QuarantineSaga(self, request: pb.QuarantineSagaRequest, context: Context) -> pb.QuarantineSagaResponse:
        saga = await ordering.set_quarantined(self._runtime, request, quarantined=True)
        return pb.QuarantineSagaResponse(saga=saga)

    async def ReleaseSaga(self, request: pb.ReleaseSagaRequest, context: Context) -> pb.ReleaseSagaResponse:
        saga = await ordering.set_quarantined(self._runtime, request, quarantined=False)
        return pb.ReleaseSagaResponse(saga=saga)

    async def SetLimit(self, request: pb.SetLimitRequest, context: Context) -> pb.SetLimitResponse:
        return await limiting.set_limit(self._runtime, request)

    async def ListLimits(self, request: pb.ListLimitsRequest, context: Context) -> pb.ListLimitsResponse:
        return await limiting.list_limits(self._runtime)

    async def SetActionBreakpoint(
        self, request: pb.SetActionBreakpointRequest, context: Context
    ) -> pb.SetActionBreakpointResponse:
        return await breaking.set_breakpoint(self._runtime, request, self._clock)

    async def ClearActionBreakpoint(
        self, request: pb.ClearActionBreakpointRequest, context: Context
    ) -> pb.ClearActionBreakpointResponse:
        return await breaking.clear_breakpoint(self._runtime, request)

    async def ListActionBreakpoints(
        self, request: pb.ListActionBreakpointsRequest, context: Context
    ) -> pb.ListActionBreakpointsResponse:
        return await breaking.list_breakpoints(self._runtime)


@contextmanager
def _about_sec(sec_id: str) -> Iterator[None]:
    """Say of a refusal that is about a SEC which one; every other is about the saga."""
    try:
        yield
    except RequestRefused as error:
        if error.code != "SEC_NOT_FOUND":
            raise
        raise refusal(error, sec_id) from error
