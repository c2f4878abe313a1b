"""SagaService: each method checks its request and asks the runtime; `guards` tells the client what went wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from sagaline.v1 import saga_service_pb2 as pb
from sagaline.v1 import saga_service_pb2_grpc
from sagaline_server.api import creating, listing, ordering, reading, selecting, waiting
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.handlers import Context
from sagaline_server.api.ids import RandomBytes
from sagaline_server.api.running import SagaRun
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.ports.clock import Clock


class SagaService(saga_service_pb2_grpc.SagaServiceServicer):
    """What clients use."""

    def __init__(
        self, runtime: SagaRuntime, clock: Clock, random: RandomBytes, *, fault_injection: bool = False
    ) -> None:
        """Make the service of one SEC.

        Args:
            runtime: Where the sagas are.
            clock: Time.
            random: For ids that the server makes.
            fault_injection: Whether clients may inject faults.
        """
        self._runtime = runtime
        self._fault_injection = fault_injection
        self._clock = clock
        self._maker = CreationMaker(clock, random)

    async def CreateSaga(self, request: pb.CreateSagaRequest, context: Context) -> pb.CreateSagaResponse:
        return await creating.create_saga(self._runtime, self._maker, request)

    async def CreateSagas(self, request: pb.CreateSagasRequest, context: Context) -> pb.CreateSagasResponse:
        return await creating.create_sagas(self._runtime, self._maker, request)

    async def RunSaga(self, request: pb.RunSagaRequest, context: Context) -> pb.RunSagaResponse:
        return await waiting.run_saga(self._runtime, self._maker, request, context)

    async def RunSagas(
        self, request_iterator: AsyncIterator[pb.RunSagasRequest], context: Context
    ) -> AsyncIterator[pb.RunSagasResponse]:
        async with aclosing(SagaRun(self._runtime, self._maker).frames(request_iterator)) as frames:
            async for frame in frames:
                yield frame

    async def GetSaga(self, request: pb.GetSagaRequest, context: Context) -> pb.GetSagaResponse:
        return await reading.get_saga(self._runtime, request)

    async def ListSagas(self, request: pb.ListSagasRequest, context: Context) -> pb.ListSagasResponse:
        return await listing.list_sagas(self._runtime, request, self._clock.wall())

    async def WatchSaga(self, request: pb.WatchSagaRequest, context: Context) -> AsyncIterator[pb.WatchSagaResponse]:
        async with aclosing(reading.watch_saga(self._runtime, request)) as frames:
            async for frame in frames:
                yield frame

    async def WaitSaga(self, request: pb.WaitSagaRequest, context: Context) -> pb.WaitSagaResponse:
        return await waiting.wait_saga(self._runtime, request, context)

    async def GetSagaLog(self, request: pb.GetSagaLogRequest, context: Context) -> pb.GetSagaLogResponse:
        return await reading.get_saga_log(self._runtime, request)

    async def PauseSaga(self, request: pb.PauseSagaRequest, context: Context) -> pb.PauseSagaResponse:
        return pb.PauseSagaResponse(saga=await ordering.set_paused(self._runtime, request, paused=True))

    async def ResumeSaga(self, request: pb.ResumeSagaRequest, context: Context) -> pb.ResumeSagaResponse:
        return pb.ResumeSagaResponse(saga=await ordering.set_paused(self._runtime, request, paused=False))

    async def StepSaga(self, request: pb.StepSagaRequest, context: Context) -> pb.StepSagaResponse:
        return pb.StepSagaResponse(saga=await ordering.step(self._runtime, request))

    async def SetBreakpoints(self, request: pb.SetBreakpointsRequest, context: Context) -> pb.SetBreakpointsResponse:
        return pb.SetBreakpointsResponse(saga=await ordering.set_breakpoints(self._runtime, request))

    async def UnwindSaga(self, request: pb.UnwindSagaRequest, context: Context) -> pb.UnwindSagaResponse:
        return pb.UnwindSagaResponse(saga=await ordering.unwind(self._runtime, request))

    async def SignalSaga(self, request: pb.SignalSagaRequest, context: Context) -> pb.SignalSagaResponse:
        return pb.SignalSagaResponse(saga=await ordering.signal(self._runtime, request))

    async def InjectFault(self, request: pb.InjectFaultRequest, context: Context) -> pb.InjectFaultResponse:
        saga = await ordering.inject_fault(self._runtime, request, is_allowed=self._fault_injection)
        return pb.InjectFaultResponse(saga=saga)

    async def ResolveNode(self, request: pb.ResolveNodeRequest, context: Context) -> pb.ResolveNodeResponse:
        return pb.ResolveNodeResponse(saga=await ordering.resolve(self._runtime, request))

    async def CountSagas(self, request: pb.CountSagasRequest, context: Context) -> pb.CountSagasResponse:
        return await selecting.count_sagas(self._runtime, request, self._clock.wall())

    async def BatchControlSagas(
        self, request: pb.BatchControlSagasRequest, context: Context
    ) -> pb.BatchControlSagasResponse:
        return await selecting.control_sagas(self._runtime, request, self._clock.wall())
