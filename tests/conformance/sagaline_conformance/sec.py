"""The scripted SEC: a real gRPC server that says what a script says, and keeps every frame that a worker sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
from grpc import aio

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.v1.worker_service_pb2_grpc import WorkerServiceServicer, add_WorkerServiceServicer_to_server
from sagaline_conformance.messages import ack, key, seconds

FRAME_BYTES = 1024 * 1024

Note = Callable[[str], None]


class Stream:
    """One stream of the worker. What comes is kept, in order; what must hold of every frame is checked at once."""

    def __init__(self, sec: Sec, number: int) -> None:
        self.sec = sec
        self.number = number
        self.frames: list[pb.ConnectRequest] = []
        self.is_open = True
        self.half_closed = False
        self.echoing = True
        """Heartbeats are answered at once."""
        self.acking = False
        """Results are acknowledged at once."""
        self.frame_bytes = FRAME_BYTES
        self.sequence = 0
        self._welcomed = False
        self._acked = self._nonce = 0
        self._to_say: asyncio.Queue[object] = asyncio.Queue()

    # ---- saying

    def welcome(self, *, interval: float = 5.0, timeout: float = 15.0, **fields: Any) -> None:
        """Answer the hello."""
        self._welcomed = True
        self.frame_bytes = fields.setdefault("max_frame_bytes", FRAME_BYTES)
        fields.setdefault("protocol_version", 1)
        fields.setdefault("max_payload_bytes", 256 * 1024)
        welcome = pb.Welcome(
            sec_id=self.sec.name,
            incarnation=self.sec.incarnation,
            heartbeat_interval=seconds(interval),
            heartbeat_timeout=seconds(timeout),
            session_grace_timeout=seconds(20.0),
            **fields,
        )
        self.send(welcome=welcome)

    def send(self, **fields: Any) -> None:
        """Say something in a frame of its own."""
        self.say(pb.ConnectResponse(**fields))

    def say(self, frame: pb.ConnectResponse) -> None:
        """Say a frame; it gets the next number unless it has one."""
        self.sequence += 1
        frame.sequence = frame.sequence or self.sequence
        self.sec.note(f"{self.name} > {_text(frame)}")
        self._to_say.put_nowait(frame)

    def invoke(self, *invocations: pb.Invocation) -> None:
        self.send(invocations=invocations)

    def acknowledge(self, *refs: pb.InvocationRef) -> None:
        self.send(result_acks=[ack(of) for of in refs])

    def end(self, code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> None:
        """End the stream with this status."""
        self._to_say.put_nowait(code)

    # ---- what came

    @property
    def name(self) -> str:
        return f"{self.sec.name}#{self.number}"

    @property
    def hello(self) -> pb.Hello:
        return self.frames[0].hello

    @property
    def window(self) -> int:
        """What the default pool was granted last."""
        granted = [self.hello.capacity] + [frame.capacity for frame in self.frames if frame.HasField("capacity")]
        return granted[-1].max_in_flight_by_pool.get("", 0)

    @property
    def acked(self) -> int:
        return max(frame.ack_sequence for frame in self.frames)

    @property
    def nonces(self) -> list[int]:
        return [frame.heartbeat.nonce for frame in self.frames if frame.HasField("heartbeat")]

    @property
    def drains(self) -> list[pb.Drain]:
        return [frame.drain for frame in self.frames if frame.HasField("drain")]

    def results(self, of: pb.InvocationRef) -> list[pb.InvocationResult]:
        return [result for frame in self.frames for result in frame.results if key(result.ref) == key(of)]

    def rejections(self, of: pb.InvocationRef) -> list[pb.Rejection]:
        return [rejection for frame in self.frames for rejection in frame.rejections if key(rejection.ref) == key(of)]

    def progress(self, of: pb.InvocationRef) -> list[pb.Progress]:
        return [progress for frame in self.frames for progress in frame.progress if key(progress.ref) == key(of)]

    def reports(self) -> list[pb.InFlightReport]:
        return [frame.in_flight for frame in self.frames if frame.HasField("in_flight")]

    def reported(self, of: pb.InvocationRef) -> list[int]:
        """The states in which an attempt was reported, other than in the hello."""
        return [entry.state for report in self.reports() for entry in report.entries if key(entry.ref) == key(of)]

    def greeted_with(self, of: pb.InvocationRef) -> int:
        """The state in which the hello names an attempt; 0: not at all."""
        states = [entry.state for entry in self.hello.in_flight.entries if key(entry.ref) == key(of)]
        return states[0] if states else 0

    # ---- inside

    def take(self, frame: pb.ConnectRequest) -> None:
        """A frame has come."""
        self.sec.note(f"{self.name} < {_text(frame)}")
        self._check(frame)
        self.frames.append(frame)
        if self.acking and frame.results:
            self.acknowledge(*(result.ref for result in frame.results))
        if self.echoing and frame.HasField("heartbeat"):
            self.send(heartbeat_nonce=frame.heartbeat.nonce)
        self.sec.changed()

    def _check(self, frame: pb.ConnectRequest) -> None:
        broken = self.sec.broken
        size = frame.ByteSize()
        if size > self.frame_bytes:
            broken(f"W8: a frame of {size} bytes, while {self.frame_bytes} are allowed")
        if frame.HasField("hello") is bool(self.frames):
            broken("W2: " + ("a second hello" if self.frames else "the first frame has no hello"))
        if not self._welcomed and (self.frames or frame.results or frame.rejections or frame.HasField("heartbeat")):
            broken("W6: something other than the hello before the welcome")
        if frame.ack_sequence and not self._acked <= frame.ack_sequence <= self.sequence:
            broken(f"W10: ack_sequence {frame.ack_sequence} after {self._acked}; the last frame was {self.sequence}")
        self._acked = max(self._acked, frame.ack_sequence)
        if frame.HasField("heartbeat"):
            if frame.heartbeat.nonce <= self._nonce:
                broken(f"W41: nonce {frame.heartbeat.nonce} after {self._nonce}")
            self._nonce = frame.heartbeat.nonce

    async def said(self) -> AsyncIterator[pb.ConnectResponse | grpc.StatusCode]:
        while True:
            item = await self._to_say.get()
            assert isinstance(item, pb.ConnectResponse | grpc.StatusCode)
            yield item


class Sec(WorkerServiceServicer):
    """One server, at one address for as long as the script runs."""

    def __init__(self, name: str, note: Note, broken: Note, changed: Callable[[], None]) -> None:
        self.name = name
        self.note, self.broken, self.changed = note, broken, changed
        self.incarnation = 1
        self.port = 0
        self.streams: list[Stream] = []
        self.calls: list[pb.ReportResultsRequest] = []
        self.refuse_with: grpc.StatusCode | None = None
        """Streams are ended with this status at once, before the hello is read."""
        self.refused: list[float] = []
        """When that happened, by the loop's clock."""
        self._server: aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def named(self) -> pb.Sec:
        """As others tell of it."""
        return pb.Sec(sec_id=self.name, address=self.address)

    async def start(self) -> None:
        """Listen, on the same port as before."""
        self._server = aio.server(options=[("grpc.so_reuseport", 0)])
        add_WorkerServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def stop(self) -> None:
        """Cut all streams and stop listening."""
        server, self._server = self._server, None
        if server is not None:
            self.incarnation += 1
            await server.stop(None)

    async def Connect(self, requests: AsyncIterator[pb.ConnectRequest], context: Any) -> Any:
        if self.refuse_with is not None:
            self.refused.append(asyncio.get_running_loop().time())
            self.changed()
            await context.abort(self.refuse_with, "as the script says")
        stream = Stream(self, len(self.streams) + 1)
        reading = asyncio.create_task(self._read(requests, stream))
        try:
            async for item in stream.said():
                if not isinstance(item, grpc.StatusCode):
                    yield item
                    continue
                if item is not grpc.StatusCode.OK:
                    await context.abort(item, "as the script says")
                break
        finally:
            self.note(f"{stream.name} ended")
            stream.is_open = False
            self.changed()
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def ReportResults(self, request: pb.ReportResultsRequest, context: Any) -> Any:
        self.note(f"{self.name} called: {_text(request)}")
        self.calls.append(request)
        self.changed()
        return pb.ReportResultsResponse(result_acks=[ack(result.ref) for result in request.results])

    async def GetMembership(self, request: pb.GetMembershipRequest, context: Any) -> Any:
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "streams are the subject here")

    async def _read(self, requests: AsyncIterator[pb.ConnectRequest], stream: Stream) -> None:
        async for frame in requests:
            if not stream.frames:
                self.streams.append(stream)
            stream.take(frame)
        stream.half_closed = True
        self.changed()


def _text(message: Any) -> str:
    return " ".join(str(message).split())[:400]
