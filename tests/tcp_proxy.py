"""A proxy between a gRPC client and its server that loses what it is told to lose.

It reads HTTP/2 frames, so that it can lose one request before the server sees
it, or one answer after the server has carried the request out, without any
guess about time.
"""

from __future__ import annotations

import asyncio
import enum
from types import TracebackType
from typing import Self

PREFACE_BYTES = 24
FRAME_HEADER_BYTES = 9
HEADERS = 1


class Lose(enum.Enum):
    """What is lost next."""

    NOTHING = "nothing"
    REQUEST = "request"
    ANSWER = "answer"


class Losing:
    """What is lost next, by one proxy or by whichever of several has it first."""

    def __init__(self) -> None:
        self.what = Lose.NOTHING


class TcpProxy:
    """Listens on a port of its own and passes everything on to `target`, until told otherwise."""

    def __init__(self, target: str, losing: Losing | None = None) -> None:
        self._target = _address(target)
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._losing = losing or Losing()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self.endpoint = ""
        self.lost = asyncio.Event()
        """Set when what had to be lost was lost."""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self._flowing.set()
        self.cut()
        await asyncio.gather(*self._tasks)

    def lose(self, what: Lose) -> None:
        """Lose the next request or answer, and cut the connection with it."""
        self._losing.what = what
        self.lost.clear()

    def lead_to(self, target: str) -> None:
        """Lead somewhere else from now on, and cut every connection."""
        self._target = _address(target)
        self.cut()

    def hang(self) -> None:
        """Pass nothing on from now on; connections stay."""
        self._flowing.clear()

    def flow(self) -> None:
        """End `hang`."""
        self._flowing.set()

    def cut(self) -> None:
        """Cut every connection. New ones are accepted."""
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            to_reader, to_writer = await asyncio.open_connection(*self._target)
            self._writers.add(to_writer)
            try:
                await asyncio.gather(
                    self._pass_on(reader, to_writer, Lose.REQUEST), self._pass_on(to_reader, writer, Lose.ANSWER)
                )
            finally:
                self._writers.discard(to_writer)
                to_writer.transport.abort()
        except OSError:
            pass  # the server is not there: the client's connection ends too
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, carries: Lose) -> None:
        try:
            if carries is Lose.REQUEST:
                writer.write(await reader.readexactly(PREFACE_BYTES))
            while True:
                frame = await self._read_frame(reader)
                if self._losing.what is carries and frame[3] == HEADERS:
                    self._losing.what = Lose.NOTHING
                    self.lost.set()
                    self.cut()
                    return
                await self._flowing.wait()
                writer.write(frame)
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            writer.transport.abort()  # the end of one side is the end of the other

    async def _read_frame(self, reader: asyncio.StreamReader) -> bytes:
        header = await reader.readexactly(FRAME_HEADER_BYTES)
        return header + await reader.readexactly(int.from_bytes(header[:3], "big"))


def _address(endpoint: str) -> tuple[str, int]:
    host, port = endpoint.rsplit(":", 1)
    return host, int(port)
