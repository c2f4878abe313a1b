"""Carries the frames of one session over gRPC: one stream after another, until the session is closed.

Runs in the I/O loop. It decides nothing: it feeds the fleet and does what the fleet's effects ask. Of a stream
there is one reader and one writer; whichever of them ends first, the whole stream ends with it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable

from grpc import aio

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.worker_service_pb2_grpc import WorkerServiceStub
from sagaline.worker.effects import Closed, Connect, Effect, EndStream
from sagaline.worker.fleet import Fleet
from sagaline.worker.session import Session, SessionState

logger = logging.getLogger("sagaline.worker")

CHANNEL_OPTIONS: list[tuple[str, int]] = [
    # Half-open connections are found by pings, also between streams; the SEC allows one in 10 s.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # The session's own backoff decides when to try again, so the channel's must not be longer.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A new channel must not share the connection of the one it replaces.
    ("grpc.use_local_subchannel_pool", 1),
]

Call = aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse]


class Link:
    """One session and the streams that carry it. Made in the I/O loop."""

    def __init__(
        self, fleet: Fleet, session: Session, dial: Callable[[], aio.Channel], apply: Callable[[list[Effect]], None]
    ) -> None:
        self.session = session
        self._fleet = fleet
        self._dial = dial
        self._apply = apply
        self._clock = asyncio.get_running_loop().time
        self._channel: aio.Channel | None = None
        self._fresh_channel = False
        self._closed = False
        self._order = asyncio.Event()
        # Of the stream that is open:
        self._writable = asyncio.Event()
        self._half_closing = False
        self._given_up: asyncio.Future[None] | None = None
        self._why = ""

    def handle(self, effect: EndStream | Connect | Closed) -> None:
        """Do what the session asks of its stream."""
        match effect:
            case EndStream(half_close=True):
                self._why, self._half_closing = effect.why, True
                self._writable.set()
            case EndStream():
                self._why = effect.why
                if self._given_up is not None and not self._given_up.done():
                    self._given_up.set_result(None)
            case Connect():
                self._fresh_channel = effect.fresh_channel
                self._order.set()
            case Closed():
                self._closed = True
                self._order.set()

    def poke(self) -> None:
        """Let the writer look whether there is a frame."""
        if not self._writable.is_set() and self.session.has_frame():
            self._writable.set()

    async def run(self) -> None:
        """Open a stream whenever that is ordered, until the session is closed."""
        try:
            while True:
                await self._order.wait()
                if self._closed:
                    return
                self._order.clear()
                if self._fresh_channel:
                    await self._hang_up()
                if self.session.state is SessionState.IDLE:
                    why = await self._stream()
                    self._apply(self._fleet.ended(self.session, self._clock(), why, random.random()))
        finally:
            await self._hang_up()

    async def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    async def _stream(self) -> str:
        """One stream, from its opening to its end; returns why it ended. Nothing of it is left behind."""
        if self._channel is None:
            self._channel = self._dial()
        self._writable.clear()
        self._half_closing, self._why = False, ""
        self._given_up = given_up = asyncio.get_running_loop().create_future()
        call: Call = WorkerServiceStub(self._channel).Connect()
        self._apply(self._fleet.opened(self.session, self._clock()))
        reader = asyncio.create_task(self._read(call), name="sagaline-reader")
        writer = asyncio.create_task(self._write(call), name="sagaline-writer")
        try:
            waited: set[asyncio.Future[None]] = {reader, writer, given_up}
            done, _ = await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if writer in done and not writer.cancelled() and writer.exception() is None:
                await asyncio.wait({reader, given_up}, return_when=asyncio.FIRST_COMPLETED)
            return self._why or await self._reason(call, reader, writer)
        finally:
            # A call that is merely let go of is never collected, and its stream would stay.
            call.cancel()
            given_up.cancel()
            reader.cancel()
            writer.cancel()
            await asyncio.gather(reader, writer, return_exceptions=True)

    async def _reason(self, call: Call, *tasks: asyncio.Task[None]) -> str:
        """Why the stream ended, where it was not our wish: the status that came, or what broke here."""
        for task in tasks:
            error = task.exception() if task.done() and not task.cancelled() else None
            if error is not None and not isinstance(error, aio.AioRpcError | asyncio.InvalidStateError):
                logger.error("the worker's stream broke down here: this is a fault of the SDK", exc_info=error)
                return f"{type(error).__name__} in the worker"
        if not call.done():
            return "the stream ended without a status"
        code, details = await call.code(), await call.details()
        return f"{code.name}: {details}" if details else code.name

    async def _read(self, call: Call) -> None:
        while True:
            frame = await call.read()
            if not isinstance(frame, pb.ConnectResponse):  # EOF
                return
            self._apply(self._fleet.received(self.session, frame, self._clock()))

    async def _write(self, call: Call) -> None:
        while True:
            frame = self.session.next_frame(self._clock())
            if frame is not None:
                await call.write(frame)
                self._apply(self._fleet.written(self.session, self._clock()))
            elif self._half_closing:
                await call.done_writing()
                return
            else:
                self._writable.clear()
                await self._writable.wait()
