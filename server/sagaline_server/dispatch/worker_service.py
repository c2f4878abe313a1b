"""WorkerService: who may open a stream, and what all streams have in common. `stream` is one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

import grpc
import msgspec
import structlog

from sagaline.v1 import worker_service_pb2, worker_service_pb2_grpc
from sagaline_server.core import limits
from sagaline_server.dispatch.dispatcher import Dispatcher, ref_key
from sagaline_server.dispatch.hello import problem_of, refused_actions, without
from sagaline_server.dispatch.results import take_result
from sagaline_server.dispatch.session import Session
from sagaline_server.dispatch.stream import StreamTimes, WorkerStream
from sagaline_server.ports.clock import Clock
from sagaline_server.wire.times import duration, timestamp

__all__ = ["SecFacts", "StreamTimes", "WorkerService"]

log = structlog.get_logger("sagaline.dispatch")

PROTOCOL_VERSION = 1
CUT_SECONDS = 2.0
"""How long a stream that is cut off may take to write what is left to say."""


class SecFacts(msgspec.Struct, frozen=True):
    """What a SEC tells workers of itself."""

    sec_id: str
    incarnation: int
    address: str


class WorkerService(worker_service_pb2_grpc.WorkerServiceServicer):
    """Serves worker streams."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: Clock,
        facts: SecFacts,
        times: StreamTimes,
        members: Callable[[], worker_service_pb2.SecSet],
    ) -> None:
        """Make the service of one SEC; `members` gives the live ones."""
        self._members = members
        self._dispatcher = dispatcher
        self._clock = clock
        self.facts = facts
        self.times = times
        self.leaving = False
        self._streams: dict[WorkerStream, None] = {}
        """In the order in which they came, so that a simulation repeats itself."""

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[worker_service_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[worker_service_pb2.ConnectResponse]:
        """Serve one worker stream."""
        hello = await self._first_frame(request_iterator, context)
        refused = refused_actions(hello)
        stream = WorkerStream(self._dispatcher, self._clock, self.times, request_iterator)
        known = self._dispatcher.sessions.get(hello.worker_id)
        if known is not None and known.stream_epoch >= hello.stream_epoch:
            # Even where the newer one has ended: what this hello says to be in flight was true before it.
            await context.abort(grpc.StatusCode.ABORTED, "this worker has opened a newer stream")
        session, replaced = self._dispatcher.connect(without(hello, refused), stream.wake, self._clock.wall())
        if replaced is not None:
            self._end_replaced(session, stream)
        stream.begin(session)
        self._streams[stream] = None
        log.info("worker_connected", worker_id=session.worker_id, actions=len(hello.actions), refused=len(refused))
        session.say(worker_service_pb2.ConnectResponse(welcome=self._welcome(hello, refused)))
        self._dispatcher.reconcile(session)
        self._dispatcher.pump(session)
        try:
            async for frame in stream.frames():
                yield frame
        finally:
            self._streams.pop(stream, None)
            await stream.end()
            log.info("worker_disconnected", worker_id=session.worker_id, in_flight=len(session.in_flight))

    async def _first_frame(
        self,
        requests: AsyncIterator[worker_service_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> worker_service_pb2.Hello:
        if self.leaving:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this SEC is stopping")
        try:
            frame = await asyncio.wait_for(anext(requests), self.times.handshake)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "the first frame did not come")
        except StopAsyncIteration:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the stream ended before its first frame")
        if not frame.HasField("hello"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first frame carries hello")
        problem = problem_of(frame.hello)
        if problem:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        if not self._dispatcher.sagas.is_serving:
            # Attempts of sagas that are not read yet would look as if nobody knew them.
            await context.abort(grpc.StatusCode.UNAVAILABLE, "this SEC is not ready")
        return frame.hello

    def _end_replaced(self, session: Session, newer: WorkerStream) -> None:
        for stream in self._streams:
            if stream is not newer and stream.session is session:
                stream.replace()

    def _welcome(self, hello: worker_service_pb2.Hello, refused: dict[str, str]) -> worker_service_pb2.Welcome:
        return worker_service_pb2.Welcome(
            protocol_version=min(hello.protocol_version, PROTOCOL_VERSION),
            sec_id=self.facts.sec_id,
            incarnation=self.facts.incarnation,
            heartbeat_interval=duration(self.times.heartbeat_interval),
            heartbeat_timeout=duration(self.times.heartbeat_timeout),
            session_grace_timeout=duration(self._dispatcher.grace),
            max_frame_bytes=limits.FRAME_BYTES,
            max_payload_bytes=limits.PAYLOAD_BYTES,
            secs=self._members(),
            refused_actions=refused,
        )

    async def ReportResults(  # noqa: N802 - gRPC's name
        self,
        request: worker_service_pb2.ReportResultsRequest,
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> worker_service_pb2.ReportResultsResponse:
        """Take results without a session; answers once each is durable."""
        if not 0 < len(request.results) <= limits.CREATE_BATCH:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"results has 1 to {limits.CREATE_BATCH} entries")
        if not request.worker_id:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "worker_id is required")
        try:
            keys = [ref_key(message.ref) for message in request.results]
        except ValueError as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"results: {error}")
        fates: list[asyncio.Future[worker_service_pb2.ResultAck]] = []
        session = self._dispatcher.sessions.get(request.worker_id)
        for key, message in zip(keys, request.results, strict=True):
            future: asyncio.Future[worker_service_pb2.ResultAck] = asyncio.get_running_loop().create_future()
            fates.append(future)
            if session is not None:
                self._dispatcher.answered(session, key)
            take_result(self._dispatcher.sagas, key, message, partial(_resolve, future))
        if session is not None:
            self._dispatcher.pump(session)
        return worker_service_pb2.ReportResultsResponse(result_acks=await asyncio.gather(*fates))

    async def GetMembership(  # noqa: N802 - gRPC's name
        self,
        request: worker_service_pb2.GetMembershipRequest,
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> worker_service_pb2.GetMembershipResponse:
        """Return the live SECs."""
        return worker_service_pb2.GetMembershipResponse(secs=self._members(), read_time=timestamp(self._clock.wall()))

    def push_members(self) -> None:
        """Tell every worker who the SECs are now."""
        part = worker_service_pb2.ConnectResponse(secs=self._members())
        for session in self._dispatcher.attached_sessions():
            session.say(part)

    async def watch(self) -> None:
        """Look after all streams and grace times, for ever. The service's owner runs and cancels it."""
        while True:
            await asyncio.sleep(min(self.times.heartbeat_interval / 4, 1.0))
            for stream in list(self._streams):
                stream.look_after()
            for session in self._dispatcher.attached_sessions():
                self._dispatcher.tell_demand(session)
            self._dispatcher.end_graces()

    async def leave(self) -> None:
        """Tell every worker that this SEC stops, and end the streams: each when nothing is in flight on it any more.

        Results are taken and acknowledged meanwhile, as long as the time lasts that workers are told.
        """
        self.leaving = True
        streams = list(self._streams)
        for stream in streams:
            stream.leave("the SEC stops")
        if await self._have_ended(streams, self.times.leave):
            return
        for stream in streams:
            stream.cut()
        if not await self._have_ended(streams, CUT_SECONDS):
            log.warning("streams_left", streams=len(self._streams))

    async def _have_ended(self, streams: Sequence[WorkerStream], seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                for stream in streams:
                    await stream.ended.wait()
        except TimeoutError:
            return False
        return True


def _resolve(future: asyncio.Future[worker_service_pb2.ResultAck], ack: bytes) -> None:
    if not future.done():
        future.set_result(worker_service_pb2.ResultAck.FromString(ack))
