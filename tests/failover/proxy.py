"""A TCP proxy that does to connections what networks do: ends them, resets them, delays one way, loses one way.

It knows nothing of what it carries. A direction that is blocked keeps what
came in and lets it through later, as TCP does when the network comes back; so
both ends see a connection that is there and says nothing.
"""

from __future__ import annotations

import asyncio
import enum
import socket
import struct
from collections.abc import Iterable
from types import TracebackType
from typing import Self

CHUNK_BYTES = 64 * 1024
CHUNKS_WAITING = 16
"""What one direction of a connection keeps at most; beyond that its sender is read no further."""
CONNECT_SECONDS = 5.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of 0 seconds: the end of the socket is a reset."""


class Way(enum.Enum):
    """A direction through the proxy."""

    UP = "up"
    """From who dialled to who was dialled."""
    DOWN = "down"


class Flow:
    """One direction of a connection: what was read, and when it may be written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(CHUNKS_WAITING)
        self._open = asyncio.Event()
        self._open.set()
        self.delay = 0.0
        """Seconds between reading and writing."""

    def block(self) -> None:
        """Write nothing from now on."""
        self._open.clear()

    def unblock(self) -> None:
        """Write again, what has gathered first."""
        self._open.set()

    async def run(self) -> None:
        """Pass on until one side ends."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._read())
            group.create_task(self._write())

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while chunk := await self._reader.read(CHUNK_BYTES):
            await self._waiting.put((loop.time(), chunk))
        await self._waiting.put((loop.time(), b""))

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            came, chunk = await self._waiting.get()
            late = came + self.delay - loop.time()
            if late > 0:
                await asyncio.sleep(late)
            await self._open.wait()
            if not chunk:
                raise EOFError
            self._writer.write(chunk)
            await self._writer.drain()


class Pair:
    """One connection through the proxy."""

    def __init__(
        self,
        near: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        far: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        self._writers = (near[1], far[1])
        self.flows = {Way.UP: Flow(near[0], far[1]), Way.DOWN: Flow(far[0], near[1])}

    async def run(self) -> None:
        """Pass on both ways until one side ends; then the other does too."""
        try:
            async with asyncio.TaskGroup() as group:
                for flow in self.flows.values():
                    group.create_task(flow.run())
        except* (EOFError, OSError):
            pass
        finally:
            self.cut()

    def cut(self) -> None:
        """End it on both sides; what was not passed on yet is lost."""
        for writer in self._writers:
            writer.transport.abort()

    def reset(self) -> None:
        """End it on both sides with a reset, as a machine does that knows nothing of it any more."""
        for writer in self._writers:
            connection = writer.get_extra_info("socket")
            if connection is not None and connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            writer.transport.abort()


class FaultProxy:
    """Listens on a port of its own and passes everything on to `target`, until told otherwise.

    What it is told holds for the connections there are, and for new ones.
    """

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._blocked: set[Way] = set()
        self._delays: dict[Way, float] = {}
        self._refuses = False
        self.pairs: set[Pair] = set()
        """The connections there are."""
        self.address = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # ---- faults

    def cut(self) -> None:
        """End every connection. New ones are accepted."""
        for pair in self.pairs:
            pair.cut()

    def reset(self) -> None:
        """End every connection with a reset. New ones are accepted."""
        for pair in self.pairs:
            pair.reset()

    def refuse(self) -> None:
        """End every connection, and every new one at once."""
        self._refuses = True
        self.reset()

    def block(self, *ways: Way) -> None:
        """Pass nothing on in these directions, both where none is named; connections stay."""
        for way in ways or Way:
            self._blocked.add(way)
            for flow in self._flows(way):
                flow.block()

    def delay(self, way: Way, seconds: float) -> None:
        """Pass everything on in one direction only so long after it came."""
        self._delays[way] = seconds
        for flow in self._flows(way):
            flow.delay = seconds

    def heal(self) -> None:
        """End every fault. What was blocked goes its way."""
        self._refuses = False
        self._blocked.clear()
        self._delays.clear()
        for way in Way:
            for flow in self._flows(way):
                flow.delay = 0.0
                flow.unblock()

    def _flows(self, way: Way) -> Iterable[Flow]:
        return [pair.flows[way] for pair in self.pairs]

    # ---- connections

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if not self._refuses:
                await self._carry(reader, writer)
        except (OSError, TimeoutError):
            pass  # who is dialled is not there: the dialler's connection ends too
        except asyncio.CancelledError:
            pass  # the proxy ends; asyncio would complain of a cancelled handler
        finally:
            writer.transport.abort()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_SECONDS):
            far = await asyncio.open_connection(*self._target)
        pair = Pair((reader, writer), far)
        for way, flow in pair.flows.items():
            flow.delay = self._delays.get(way, 0.0)
            if way in self._blocked:
                flow.block()
        self.pairs.add(pair)
        try:
            await pair.run()
        finally:
            self.pairs.discard(pair)
            pair.cut()
