"""As much of HTTP/1.1 as the pages need: GET, one request a connection, and streams of events.

It is served on the SEC's own event loop, so everything is bounded: how many connections there are, how long and
large a request is, how long a response may take to leave. What is served is for people who may see sagas; a page of
another site gets nothing of it to run, to frame, or to read by a name of its own that leads here.
"""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import structlog

log = structlog.get_logger("sagaline.web")

CONNECTIONS_MAX = 64
HEAD_BYTES_MAX = 16 * 1024
HEAD_SECONDS = 10.0
WRITE_SECONDS = 30.0
EVENTS_SECONDS_MAX = 3_600.0
"""A stream of events is ended after this long; a browser opens it again by itself."""

_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
_SECURITY = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cache-Control", "no-store"),
    ("Connection", "close"),
)

_REASONS = {
    200: "OK",
    303: "See Other",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    421: "Misdirected Request",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Request(msgspec.Struct, frozen=True):
    """A GET."""

    path: tuple[str, ...]
    """Its parts, decoded: of "/sagas/a%2Fb" they are "sagas" and "a/b"."""
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """By names in small letters."""
    certificate: tuple[str, ...] = ()
    """Names in the certificate that the browser has shown, if it was asked for one."""


class Response(msgspec.Struct, frozen=True):
    """What is answered: a body, or events that come in time."""

    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    events: AsyncGenerator[str, None] | None = None


Handler = Callable[[Request], Awaitable[Response]]


class BadRequest(Exception):
    """What came is no request that is served."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def plain(status: int, message: str) -> Response:
    """Return a response of one line of text."""
    return Response(f"{message}\n".encode(), status, "text/plain; charset=utf-8")


def parse(head: bytes) -> tuple[str, Request]:
    """Return method and request.

    Raises:
        BadRequest: It is none.
    """
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):  # noqa: PLR2004
        raise BadRequest(400, "this is no HTTP/1 request")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        if line:
            name, colon, value = line.partition(":")
            if not colon or name != name.strip():
                raise BadRequest(400, "a header can't be read")
            headers[name.lower()] = value.strip()
    try:
        target = urlsplit(words[1])
        query = {key: values[-1] for key, values in parse_qs(target.query, max_num_fields=20).items()}
    except ValueError as error:
        raise BadRequest(400, "the address can't be read") from error
    path = tuple(unquote(part) for part in target.path.split("/") if part)
    return words[0], Request(path, query, headers)


class HttpServer:
    """Serves one handler."""

    def __init__(self, handler: Handler, *, check_host: bool) -> None:
        """Make it; `start` serves it.

        Args:
            handler: What answers.
            check_host: Whether to refuse requests that came here by a name that is not this host's: a page of
                another site may let its name lead to a loopback address, and would be let in by the browser.
        """
        self._handler = handler
        self._check_host = check_host
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None) -> int:
        """Serve; returns the port.

        Raises:
            OSError: The address can't be had.
        """
        self._server = await asyncio.start_server(self._accept, host, port, limit=HEAD_BYTES_MAX, ssl=tls)
        found: int = self._server.sockets[0].getsockname()[1]
        return found

    async def stop(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= CONNECTIONS_MAX:
            writer.transport.abort()
            return
        self._tasks.add(task)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, EOFError):
            pass  # the browser has gone
        finally:
            self._tasks.discard(task)
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
            method, request = parse(head[:-4])
            request = msgspec.structs.replace(request, certificate=_names_in(writer.get_extra_info("peercert")))
            response = await self._answer(method, request)
        except asyncio.LimitOverrunError:
            method, response = "GET", plain(431, "the request is too large")
        except BadRequest as error:
            method, response = "GET", plain(error.status, str(error))
        await self._write(writer, response, with_body=method != "HEAD")
        if response.events is not None:
            if method == "HEAD":
                await response.events.aclose()
            else:
                await self._tell(reader, writer, response.events)

    async def _answer(self, method: str, request: Request) -> Response:
        if method not in {"GET", "HEAD"}:
            return plain(405, "these pages only show; use the command line to change something")
        if self._check_host and not is_local_name(request.headers.get("host", "")):
            return plain(421, "come here by localhost or by an address of this host")
        try:
            return await self._handler(request)
        except BadRequest as error:
            return plain(error.status, str(error))
        except Exception:
            log.exception("page_failed", path="/".join(request.path)[:200])
            return plain(500, "this page can't be made: the SEC's log says why")

    async def _write(self, writer: asyncio.StreamWriter, response: Response, *, with_body: bool) -> None:
        reason = _REASONS.get(response.status, "")
        headers = [("Content-Type", response.content_type), *response.headers, *_SECURITY]
        if response.events is None:
            headers.append(("Content-Length", str(len(response.body))))
        lines = [f"HTTP/1.1 {response.status} {reason}", *(f"{name}: {value}" for name, value in headers), "", ""]
        writer.write("\r\n".join(lines).encode("latin-1", "replace"))
        if with_body:
            writer.write(response.body)
        await _drained(writer)

    async def _tell(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, events: AsyncGenerator[str, None]
    ) -> None:
        """Write events until there are no more, or the browser has gone: it says nothing meanwhile."""
        telling = asyncio.create_task(_write_events(writer, events), name="events of a page")
        gone = asyncio.create_task(reader.read(1), name="end of a page")
        try:
            await asyncio.wait({telling, gone}, timeout=EVENTS_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED)
        finally:
            telling.cancel()
            gone.cancel()
            await asyncio.gather(telling, gone, return_exceptions=True)


async def _write_events(writer: asyncio.StreamWriter, events: AsyncGenerator[str, None]) -> None:
    async with aclosing(events):
        async for event in events:
            writer.write(event.encode())
            await _drained(writer)


def _names_in(certificate: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the common names and alternative names, as `ssl` tells them."""
    if not certificate:
        return ()
    subject = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return (*subject, *(value for _, value in certificate.get("subjectAltName", ())))


async def _drained(writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await writer.drain()


def is_local_name(host: str) -> bool:
    """Say whether a Host header names this host by its address, or as localhost."""
    name = host.rpartition(":")[0] if ":" in host and not host.endswith("]") else host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True
