"""A SEC that says what a test tells it to: a real gRPC server in a thread of its own, driven from the test's thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from queue import Empty, Queue
from typing import Any

import grpc
from grpc import aio

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.worker_service_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from sagaline.worker.durations import duration_of
from sagaline.worker.worker import Worker

WAIT = 20.0
"""Seconds after which a test gives up waiting."""


class ScriptedStream:
    """One worker's stream, from the test's thread."""

    def __init__(self, name: str, loop: asyncio.AbstractEventLoop, context: aio.ServicerContext[Any, Any]) -> None:
        self.name = name
        self.peer = context.peer()
        self.heard: Queue[pb.ConnectRequest | None] = Queue()
        self.to_say: asyncio.Queue[object] = asyncio.Queue()
        self.ended = threading.Event()
        self._loop = loop
        self._sequence = 0

    def recv(self) -> pb.ConnectRequest:
        """The next frame."""
        frame = self.heard.get(timeout=WAIT)
        assert frame is not None, "the worker closed its half"
        return frame

    def recv_until(self, wanted: Callable[[pb.ConnectRequest], object]) -> pb.ConnectRequest:
        """The next frame that is wanted; what comes before is read and passed over."""
        while not wanted(frame := self.recv()):
            pass
        return frame

    def recv_end(self) -> None:
        """The worker closes its half."""
        while self.heard.get(timeout=WAIT) is not None:
            pass

    def silent(self) -> bool:
        """Whether nothing is there to be read."""
        try:
            self.heard.get_nowait()
        except Empty:
            return True
        return False

    def welcome(self, *, interval: float = 5.0, timeout: float = 15.0, **fields: Any) -> pb.Hello:
        """Read the hello and answer it."""
        hello = self.recv().hello
        welcome = pb.Welcome(
            protocol_version=1,
            sec_id=self.name,
            heartbeat_interval=duration_of(interval),
            heartbeat_timeout=duration_of(timeout),
            **fields,
        )
        self.send(welcome=welcome)
        return hello

    def send(self, **fields: Any) -> None:
        """Say something."""
        self._sequence += 1
        self._say(pb.ConnectResponse(sequence=self._sequence, **fields))

    def end(self, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        """End the stream with this status."""
        self._say(code)

    def _say(self, item: object) -> None:
        self._loop.call_soon_threadsafe(self.to_say.put_nowait, item)


class _Servicer(WorkerServiceServicer):
    def __init__(self, sec: ScriptedSec) -> None:
        self._sec = sec

    async def Connect(self, requests: AsyncIterator[pb.ConnectRequest], context: Any) -> Any:
        stream = ScriptedStream(self._sec.name, asyncio.get_running_loop(), context)
        self._sec.streams.put(stream)
        reading = asyncio.create_task(self._read(requests, stream))
        try:
            while not isinstance(item := await stream.to_say.get(), grpc.StatusCode):
                yield item
            if item is not grpc.StatusCode.OK:
                await context.abort(item, "as the test says")
        finally:
            reading.cancel()
            stream.ended.set()

    async def ReportResults(self, request: pb.ReportResultsRequest, context: Any) -> Any:
        self._sec.reports.put(request)
        acks = [pb.ResultAck(ref=result.ref, status=self._sec.report_status) for result in request.results]
        return pb.ReportResultsResponse(result_acks=acks)

    async def GetMembership(self, request: pb.GetMembershipRequest, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "streams are the subject here")

    async def _read(self, requests: AsyncIterator[pb.ConnectRequest], stream: ScriptedStream) -> None:
        async for frame in requests:
            stream.heard.put(frame)
        stream.heard.put(None)


class ScriptedSec:
    """The server. Streams are taken in the order in which workers open them."""

    def __init__(self, name: str = "scripted") -> None:
        self.name = name
        self.port = 0
        self.streams: Queue[ScriptedStream] = Queue()
        self.reports: Queue[pb.ReportResultsRequest] = Queue()
        self.report_status: pb.ResultStatus.ValueType = pb.RESULT_STATUS_RECORDED
        """What results that come by a call are answered with."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="scripted-sec")
        self._server: aio.Server | None = None
        self._thread.start()
        self.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def named(self) -> pb.Sec:
        """As others tell of it."""
        return pb.Sec(sec_id=self.name, address=self.address)

    def accept(self) -> ScriptedStream:
        """The next stream."""
        return self.streams.get(timeout=WAIT)

    def start(self) -> None:
        """Listen, on the same port as before."""
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(WAIT)

    def stop(self) -> None:
        """Cut all streams and stop listening."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(WAIT)

    def close(self) -> None:
        self.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT)
        self._loop.close()

    async def _start(self) -> None:
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        add_WorkerServiceServicer_to_server(_Servicer(self), self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


@contextmanager
def running(worker: Worker) -> Iterator[Queue[Exception | None]]:
    """Run a worker in a thread of its own; at the end it is stopped at once if it has not left by itself.

    Yields what `run` raised, once it has ended; None if it returned.
    """
    ended: Queue[Exception | None] = Queue()

    def run() -> None:
        try:
            worker.run_forever(handle_signals=False)
        except Exception as error:  # noqa: BLE001 - told to the test, whatever it is
            ended.put(error)
        else:
            ended.put(None)

    thread = threading.Thread(target=run, name="user")
    thread.start()
    try:
        yield ended
    finally:
        worker.drain(timedelta(0))
        thread.join(WAIT)
        assert not thread.is_alive()
