"""One worker stream: a task that reads, a generator that writes, and what its watchdog knows.

The writer sends whatever has gathered as soon as the frame before is out: a
lone item is never delayed, and under load frames fill by themselves. A stream
ends by the generator's end. Only a writer that is stuck, because its worker
does not read, is cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import grpc
import msgspec
import structlog

from sagaline.v1 import worker_service_pb2
from sagaline_server.core.decide import Rejected
from sagaline_server.dispatch.dispatcher import Dispatcher, ref_key
from sagaline_server.dispatch.results import take_progress, take_result
from sagaline_server.dispatch.session import Session
from sagaline_server.ports.clock import Clock
from sagaline_server.wire.times import duration

log = structlog.get_logger("sagaline.dispatch")


class StreamTimes(msgspec.Struct, frozen=True):
    """Times of a worker stream, in seconds."""

    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 15.0
    handshake: float = 5.0
    reconcile_interval: float = 60.0
    leave: float = 5.0
    """How long a SEC that stops takes the results of what is in flight."""


class ProtocolBroken(Exception):
    """A worker sent what the protocol does not allow; its stream ends with PROTOCOL_ERROR."""


class WorkerStream:
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
        self._finish_by = 0.0
        self._left = False
        self._is_sending = False
        self._last_heard = self._last_sent = clock.boottime()
        self._sequence = 0
        self._unreceived_since: tuple[int, float] = (0, 0.0)
        self._next_reconcile = self._last_heard + times.reconcile_interval
        self._replaced = False
        self._leaving = False
        self._unacked = 0
        """Results that were taken, and whose fate is not known yet."""
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
        self._finish()

    def _finish(self) -> None:
        """End the stream with what is left to say."""
        if not self._finishing:
            self._finishing = True
            self._finish_by = self._clock.boottime() + self._times.heartbeat_timeout
        self.wake()

    def go_away(self, reason: worker_service_pb2.GoAwayReason.ValueType, message: str) -> None:
        """Tell the worker why the stream ends, and end it: with no time for more, as the message says."""
        if self.session is not None and not self._replaced:
            self.session.say(
                worker_service_pb2.ConnectResponse(go_away=worker_service_pb2.GoAway(reason=reason, message=message))
            )
        self._finish()

    def leave(self, message: str) -> None:
        """Tell the worker that this SEC stops, and send it nothing more to do.

        The stream ends when everything that is with the worker has been answered and acknowledged. The time that it
        has for that is told, and is for the caller to keep: `cut` ends it.
        """
        if self.session is None or self._replaced or self._finishing:
            return
        self._leaving = True
        self.session.is_closing = True
        away = worker_service_pb2.GoAway(reason=worker_service_pb2.GO_AWAY_REASON_SHUTDOWN, message=message)
        away.timeout.CopyFrom(duration(self._times.leave))
        self.session.say(worker_service_pb2.ConnectResponse(go_away=away))

    def cut(self) -> None:
        """End a stream whose time to leave is over."""
        self._finish()

    def _has_left(self) -> bool:
        return self._leaving and not self._unacked and self.session is not None and self.session.is_idle

    async def frames(self) -> AsyncIterator[worker_service_pb2.ConnectResponse]:
        """Yield frames to send until the stream is to end."""
        session = self.session
        assert session is not None
        while not self._left:
            is_last = self._replaced
            frame = self._last_frame() if is_last else session.take_frame()
            if frame is not None:
                self._last_sent = self._clock.boottime()
                self._sequence = frame.sequence
                self._is_sending = True
                yield frame
                self._is_sending = False
                if is_last:
                    return
                continue
            if self._finishing or self._has_left():
                return
            self._something.clear()
            # Its deadline is the watchdog's: a timeout of its own would cost a task for each frame.
            await self._something.wait()

    def _last_frame(self) -> worker_service_pb2.ConnectResponse:
        """Return what a stream that was replaced ends with; the session's own count is that of the newer one."""
        frame = worker_service_pb2.ConnectResponse(sequence=self._sequence + 1)
        frame.go_away.reason = worker_service_pb2.GO_AWAY_REASON_REPLACED
        return frame

    def look_after(self) -> None:
        """End the stream if it is sick; keep it alive if it is merely idle."""
        session, now = self.session, self._clock.boottime()
        if session is None or self._left:
            return
        if now >= self._finish_by if self._finishing else not self._is_healthy(session, now):
            self._leave()
            if self._is_sending and self._task is not None:
                # The writer is stuck in a full window, and nothing else reaches it.
                self._task.cancel()
            self.wake()

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
            session.ask()
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
        self._finish()

    def _take(self, session: Session, frame: worker_service_pb2.ConnectRequest) -> None:
        if frame.HasField("hello"):
            raise ProtocolBroken("hello is for the first frame only")
        if frame.ack_sequence > session.last_sequence:
            raise ProtocolBroken(f"ack_sequence {frame.ack_sequence}: the last frame was {session.last_sequence}")
        try:
            if frame.ack_sequence:
                session.received(frame.ack_sequence)
            for progress in frame.progress:
                self._take_progress(session, progress)
            for message in frame.results:
                self._take_result(session, message)
            for rejection in frame.rejections:
                self._take_rejection(session, rejection)
            if frame.HasField("in_flight"):
                self._dispatcher.report(session, frame.in_flight)
        except ValueError as error:
            raise ProtocolBroken(str(error)) from error
        if frame.HasField("capacity"):
            session.grant(frame.capacity)
        if frame.HasField("drain"):
            self._dispatcher.drain(session)
        if frame.HasField("heartbeat"):
            session.say(worker_service_pb2.ConnectResponse(heartbeat_nonce=frame.heartbeat.nonce))
        self._dispatcher.pump(session)
        if self._leaving:
            self.wake()  # it may have been the last thing

    def _take_progress(self, session: Session, progress: worker_service_pb2.Progress) -> None:
        key = ref_key(progress.ref)
        if key in session.in_flight:
            take_progress(self._dispatcher.sagas, key, progress)

    def _take_result(self, session: Session, message: worker_service_pb2.InvocationResult) -> None:
        key = ref_key(message.ref)
        self._dispatcher.answered(session, key)
        self._unacked += 1
        take_result(self._dispatcher.sagas, key, message, partial(self._ack, session))

    def _ack(self, session: Session, ack: bytes) -> None:
        self._unacked -= 1
        session.ack(ack)

    def _take_rejection(self, session: Session, rejection: worker_service_pb2.Rejection) -> None:
        key = ref_key(rejection.ref)
        action = self._dispatcher.answered(session, key)
        if action is None:
            return
        if rejection.reason == worker_service_pb2.REJECTION_REASON_UNKNOWN_ACTION:
            session.rejecting.add(action)
        self._dispatcher.sagas.ended(key[0], Rejected(key[1], key[2], key[3]))

    def _leave(self) -> None:
        """Leave the session to its grace time unless a newer stream has it.

        Waits for nothing: meanwhile a newer stream could take the session.
        """
        if self._left:
            return
        self._left = True
        if self.session is not None and not self._replaced:
            self._dispatcher.disconnect(self.session)
        if self._reader is not None:
            self._reader.cancel()
        self.ended.set()

    async def end(self) -> None:
        """Leave the session, and stop reading."""
        self._leave()
        if self._reader is not None:
            await asyncio.gather(self._reader, return_exceptions=True)
