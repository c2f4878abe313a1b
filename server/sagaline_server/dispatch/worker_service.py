"""The gRPC side of worker sessions: one stream a worker, frames in both directions.

A stream is one task that reads and one generator that writes. The writer
sends whatever has gathered as soon as the one before is out: a lone item is
never delayed, and under load frames fill by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from functools import partial

import grpc
import msgspec
import structlog

from sagaline.v1 import worker_service_pb2, worker_service_pb2_grpc
from sagaline_server.core import limits
from sagaline_server.core.decide import Rejected
from sagaline_server.dispatch.dispatcher import Dispatcher, ref_key
from sagaline_server.dispatch.hello import problem_of, refused_actions, without
from sagaline_server.dispatch.results import take_result
from sagaline_server.dispatch.session import Session
from sagaline_server.ports.clock import Clock
from sagaline_server.wire.times import duration, timestamp

log = structlog.get_logger("sagaline.dispatch")

PROTOCOL_VERSION = 1


class StreamTimes(msgspec.Struct, frozen=True):
    """Times of a worker stream, in seconds."""

    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 15.0
    handshake: float = 5.0
    reconcile_interval: float = 60.0
    goaway: float = 5.0


class SecFacts(msgspec.Struct, frozen=True):
    """What a SEC tells workers of itself."""

    sec_id: str
    incarnation: int
    address: str


class ProtocolBroken(Exception):
    """A worker sent what the protocol does not allow; its stream ends with PROTOCOL_ERROR."""


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
        self._streams: set[_Stream] = set()

    async def Connect(  # noqa: N802 - gRPC's name
        self,
        request_iterator: AsyncIterator[worker_service_pb2.ConnectRequest],
        context: grpc.aio.ServicerContext,  # type: ignore[type-arg]
    ) -> AsyncIterator[worker_service_pb2.ConnectResponse]:
        """Serve one worker stream."""
        hello = await self._first_frame(request_iterator, context)
        refused = refused_actions(hello)
        stream = _Stream(self._dispatcher, self._clock, self.times, request_iterator)
        known = self._dispatcher.sessions.get(hello.worker_id)
        if known is not None and known.attached and known.stream_epoch >= hello.stream_epoch:
            await context.abort(grpc.StatusCode.ABORTED, "a newer stream of this worker exists")
        session, replaced = self._dispatcher.connect(without(hello, refused), stream.wake, self._clock.wall())
        if replaced is not None:
            self._end_replaced(session, stream)
        stream.begin(session)
        self._streams.add(stream)
        log.info("worker_connected", worker_id=session.worker_id, actions=len(hello.actions), refused=len(refused))
        session.say(worker_service_pb2.ConnectResponse(welcome=self._welcome(hello, refused)))
        self._dispatcher.pump(session)
        try:
            async for frame in stream.frames():
                yield frame
        finally:
            self._streams.discard(stream)
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
        try:
            for entry in frame.hello.in_flight.entries:
                ref_key(entry.ref)
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "hello.in_flight: ref.kind is ACTION or UNDO")
        return frame.hello

    def _end_replaced(self, session: Session, newer: _Stream) -> None:
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
        fates: list[asyncio.Future[worker_service_pb2.ResultAck]] = []
        for message in request.results:
            future: asyncio.Future[worker_service_pb2.ResultAck] = asyncio.get_running_loop().create_future()
            fates.append(future)
            try:
                key = ref_key(message.ref)
            except ValueError:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "results: ref.kind is ACTION or UNDO")
            session = self._dispatcher.sessions.get(request.worker_id)
            if session is not None and session.finish(key) is not None:
                self._dispatcher.pump(session)
            take_result(self._dispatcher.sagas, key, message, partial(_resolve, future))
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
            self._dispatcher.end_graces()

    async def leave(self) -> None:
        """Tell every worker that this SEC stops, and end the streams."""
        self.leaving = True
        streams = list(self._streams)
        for stream in streams:
            stream.go_away(worker_service_pb2.GO_AWAY_REASON_SHUTDOWN, "the SEC stops")
        if streams:
            await asyncio.wait([asyncio.ensure_future(stream.ended.wait()) for stream in streams], timeout=5.0)


def _resolve(future: asyncio.Future[worker_service_pb2.ResultAck], ack: worker_service_pb2.ResultAck) -> None:
    if not future.done():
        future.set_result(ack)


class _Stream:
    """One stream: its reader task, its writer, its watchdog."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: Clock,
        times: StreamTimes,
        requests: AsyncIterator[worker_service_pb2.ConnectRequest],
    ) -> None:
        self._dispatcher = dispatcher
        self._clock = clock
        self._times = times
        self._requests = requests
        self._something = asyncio.Event()
        self._finishing = False
        self._last_heard = self._last_sent = clock.boottime()
        self._unreceived_since: tuple[int, float] = (0, 0.0)
        self._next_reconcile = self._last_heard + times.reconcile_interval
        self._replaced = False
        self._reader: asyncio.Task[None] | None = None
        self._task: asyncio.Task[object] | None = None
        self.ended = asyncio.Event()
        self.session: Session | None = None

    def wake(self) -> None:
        """Note that there is something to send."""
        self._something.set()

    def begin(self, session: Session) -> None:
        """Start reading. Called in the task that writes."""
        self.session = session
        self._task = asyncio.current_task()
        self._reader = asyncio.create_task(self._read(session))

    def replace(self) -> None:
        """End the stream because the worker has opened a newer one."""
        self._replaced = True
        self._finishing = True
        self.wake()

    def go_away(self, reason: worker_service_pb2.GoAwayReason.ValueType, message: str) -> None:
        """Tell the worker why the stream ends, and end it."""
        if self.session is not None and not self._replaced:
            self.session.say(
                worker_service_pb2.ConnectResponse(
                    go_away=worker_service_pb2.GoAway(
                        reason=reason, timeout=duration(self._times.goaway), message=message
                    )
                )
            )
        self._finishing = True
        self.wake()

    async def frames(self) -> AsyncIterator[worker_service_pb2.ConnectResponse]:
        """Yield frames to send until the stream is to end."""
        session = self.session
        assert session is not None
        while True:
            frame = None if self._replaced else session.take_frame()
            if frame is not None:
                self._last_sent = self._clock.boottime()
                yield frame
                continue
            if self._replaced:
                reason = worker_service_pb2.GO_AWAY_REASON_REPLACED
                yield worker_service_pb2.ConnectResponse(go_away=worker_service_pb2.GoAway(reason=reason))
                return
            if self._finishing:
                return
            self._something.clear()
            # Its deadline is the watchdog's: a timeout of its own would cost a task for each frame.
            await self._something.wait()

    def look_after(self) -> None:
        """End the stream if it is sick; keep it alive if it is merely idle."""
        session = self.session
        if session is None or self._finishing:
            return
        if not self._is_healthy(session, self._clock.boottime()) and self._task is not None:
            # The writer may be stuck in a full window, so only cancelling reaches it.
            self._task.cancel()

    def _is_healthy(self, session: Session, now: float) -> bool:
        if now - self._last_heard > self._times.heartbeat_timeout:
            log.warning("worker_silent", worker_id=session.worker_id)
            return False
        oldest = session.oldest_unreceived
        if oldest != self._unreceived_since[0]:
            self._unreceived_since = (oldest, now)
        elif oldest and now - self._unreceived_since[1] > self._times.heartbeat_timeout:
            log.warning("worker_reads_nothing", worker_id=session.worker_id, sequence=oldest)
            return False
        if now >= self._next_reconcile:
            self._next_reconcile = now + self._times.reconcile_interval
            session.say(worker_service_pb2.ConnectResponse(reconcile=worker_service_pb2.Reconcile()))
        elif now - self._last_sent >= self._times.heartbeat_interval:
            session.say(worker_service_pb2.ConnectResponse(heartbeat_nonce=0))
        return True

    async def _read(self, session: Session) -> None:
        try:
            async for frame in self._requests:
                self._last_heard = self._clock.boottime()
                if self._replaced:
                    break
                self._take(session, frame)
        except ProtocolBroken as error:
            log.warning("worker_broke_protocol", worker_id=session.worker_id, problem=str(error))
            self.go_away(worker_service_pb2.GO_AWAY_REASON_PROTOCOL_ERROR, str(error))
            return
        except grpc.RpcError:
            pass
        except Exception:
            log.exception("worker_stream_failed", worker_id=session.worker_id)
        self._finishing = True
        self.wake()

    def _take(self, session: Session, frame: worker_service_pb2.ConnectRequest) -> None:
        if frame.HasField("hello"):
            raise ProtocolBroken("hello is for the first frame only")
        try:
            if frame.ack_sequence:
                session.received(frame.ack_sequence)
            for message in frame.results:
                self._take_result(session, message)
            for rejection in frame.rejections:
                self._take_rejection(session, rejection)
            if frame.HasField("in_flight"):
                self._dispatcher.report(session, frame.in_flight)
        except ValueError as error:
            raise ProtocolBroken("ref.kind is ACTION or UNDO") from error
        if frame.HasField("capacity"):
            session.grant(frame.capacity)
        if frame.HasField("drain"):
            self._dispatcher.drain(session)
        if frame.HasField("heartbeat"):
            session.say(worker_service_pb2.ConnectResponse(heartbeat_nonce=frame.heartbeat.nonce))
        self._dispatcher.pump(session)

    def _take_result(self, session: Session, message: worker_service_pb2.InvocationResult) -> None:
        key = ref_key(message.ref)
        session.finish(key)
        take_result(self._dispatcher.sagas, key, message, session.ack)

    def _take_rejection(self, session: Session, rejection: worker_service_pb2.Rejection) -> None:
        key = ref_key(rejection.ref)
        action = session.finish(key)
        if action is None:
            return
        if rejection.reason == worker_service_pb2.REJECTION_REASON_UNKNOWN_ACTION:
            session.rejecting.add(action)
        self._dispatcher.sagas.ended(key[0], Rejected(key[1], key[2], key[3]))

    async def end(self) -> None:
        """Stop reading, and leave the session to its grace time unless a newer stream has it."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self.session is not None and not self._replaced:
            self._dispatcher.disconnect(self.session)
        self.ended.set()
