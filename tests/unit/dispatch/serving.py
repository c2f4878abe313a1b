"""WorkerService on a real gRPC server, and workers that speak to it frame by frame."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.worker_service_pb2_grpc import WorkerServiceStub, add_WorkerServiceServicer_to_server
from sagaline_server.api.guards import Guard
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.session import Session
from sagaline_server.dispatch.worker_service import SecFacts, StreamTimes, WorkerService
from tests.unit.dispatch.messages import hello
from tests.unit.dispatch.sagas import HandClock, NotedSagas

if TYPE_CHECKING:
    from sagaline.v1.worker_service_pb2_grpc import WorkerServiceAsyncStub

SECONDS = 10.0
"""No wait takes longer, unless something is broken."""
TIMES = StreamTimes(heartbeat_interval=1 / 32, heartbeat_timeout=15.0, handshake=0.2, leave=2.0)
"""The interval only decides how often streams are looked after; time itself stands until a test moves it."""


class Talk:
    """One stream, as its worker sees it."""

    def __init__(self, stub: WorkerServiceAsyncStub) -> None:
        self.call: grpc.aio.StreamStreamCall[pb.ConnectRequest, pb.ConnectResponse] = stub.Connect()
        self.frames: list[pb.ConnectResponse] = []

    async def say(self, **fields: object) -> None:
        """Write one frame; whether the stream has ended before it is for those to see who read."""
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self.call.write(pb.ConnectRequest(**fields))  # type: ignore[arg-type]

    async def hear(self) -> pb.ConnectResponse:
        """Read the next frame."""
        async with asyncio.timeout(SECONDS):
            frame = await self.call.read()
        assert isinstance(frame, pb.ConnectResponse), "the stream has ended"
        self.frames.append(frame)
        return frame

    async def hear_until(self, found: Callable[[pb.ConnectResponse], object]) -> pb.ConnectResponse:
        """Read frames until one says it; those that say nothing keep the stream alive."""
        while not found(frame := await self.hear()):
            pass
        return frame

    async def end(self) -> grpc.StatusCode:
        """Read what is left, and return the status."""
        async with asyncio.timeout(SECONDS):
            try:
                while (frame := await self.call.read()) is not grpc.aio.EOF:
                    assert isinstance(frame, pb.ConnectResponse)
                    self.frames.append(frame)
            except grpc.aio.AioRpcError as error:
                return error.code()
            return await self.call.code()

    async def refusal(self) -> tuple[grpc.StatusCode, str]:
        """Return the status of a stream that brings no frame."""
        code = await self.end()
        assert self.frames == []
        return code, await self.call.details()

    @property
    def go_away(self) -> pb.GoAway:
        """What the last frame said."""
        return self.frames[-1].go_away


class Site:
    """A served WorkerService."""

    def __init__(self, service: WorkerService, dispatcher: Dispatcher, sagas: NotedSagas, clock: HandClock) -> None:
        self.service = service
        self.dispatcher = dispatcher
        self.sagas = sagas
        self.clock = clock
        self.stub: WorkerServiceAsyncStub
        self.talks: list[Talk] = []

    def open(self) -> Talk:
        """Open a stream, and say nothing yet."""
        talk = Talk(self.stub)
        self.talks.append(talk)
        return talk

    async def connect(self, given: pb.Hello | None = None) -> Talk:
        """Open a stream and be welcomed."""
        talk = self.open()
        await talk.say(hello=given or hello())
        assert (await talk.hear()).HasField("welcome")
        return talk

    def session(self, worker_id: str = "w") -> Session:
        return self.dispatcher.sessions[worker_id]

    async def until(self, reached: Callable[[], object]) -> None:
        """Let the event loop run until something is true."""
        async with asyncio.timeout(SECONDS):
            while not reached():  # noqa: ASYNC110 - what is waited for here has no event of its own
                await asyncio.sleep(0)


@asynccontextmanager
async def served(times: StreamTimes = TIMES) -> AsyncIterator[Site]:
    """Serve, with the guard around it that production has."""
    clock, sagas = HandClock(), NotedSagas()
    dispatcher = Dispatcher(clock, lambda: 0.0)
    dispatcher.deliver_to(sagas)
    me = pb.Sec(sec_id="sec-1", address="sec-1:7070")
    facts = SecFacts("sec-1", 7, "sec-1:7070")
    service = WorkerService(dispatcher, clock, facts, times, lambda: pb.SecSet(revision=3, secs=[me]))
    server = grpc.aio.server(interceptors=[Guard(bytes)], options=[("grpc.so_reuseport", 0)])
    add_WorkerServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    watch = asyncio.create_task(service.watch())
    site = Site(service, dispatcher, sagas, clock)
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            site.stub = WorkerServiceStub(channel)
            yield site
            for talk in site.talks:
                talk.call.cancel()
    finally:
        watch.cancel()
        await asyncio.gather(watch, return_exceptions=True)
        await server.stop(None)
