"""The pages over a runtime in memory, asked by a client that sends what it is told to, byte by byte."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from sagaline_server.web.http import HttpServer
from sagaline_server.web.site import Site
from tests.unit.api.fake_runtime import FakeRuntime, ManualClock

SECONDS = 30.0


@dataclass
class Browser:
    """Asks for pages."""

    runtime: FakeRuntime
    server: HttpServer
    port: int

    async def send(self, request: bytes) -> tuple[int, dict[str, str], str]:
        """Send bytes; returns status, headers and body."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            async with asyncio.timeout(SECONDS):
                writer.write(request)
                await writer.drain()
                answer = await reader.read()
        finally:
            writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:])
        return int(lines[0].split()[1]), headers, body.decode()

    async def get(self, target: str, host: str = "localhost") -> tuple[int, dict[str, str], str]:
        """Ask for a page."""
        return await self.send(f"GET {target} HTTP/1.1\r\nHost: {host}:{self.port}\r\n\r\n".encode())


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    runtime = FakeRuntime(ManualClock())
    server = HttpServer(Site(runtime, "sec-test").answer, check_host=True)
    port = await server.start("127.0.0.1", 0, None)
    yield Browser(runtime, server, port)
    await server.stop()
