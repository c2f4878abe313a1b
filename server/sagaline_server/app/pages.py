"""Serves the pages where the settings ask for them: with the same certificates as everything else."""

from __future__ import annotations

import base64
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import structlog

from sagaline_server.app.settings import Settings, SettingsError, is_loopback
from sagaline_server.app.transport import tls_context
from sagaline_server.runtime.access import Access, bearer, may_look
from sagaline_server.web.http import Handler, HttpServer, Request, Response, plain
from sagaline_server.web.site import Site, WebRuntime

log = structlog.get_logger("sagaline.web")


@asynccontextmanager
async def pages(settings: Settings, runtime: WebRuntime, access: Access | None = None) -> AsyncIterator[None]:
    """Serve the pages for as long as the context lasts.

    Args:
        settings: Where, and with which certificates.
        runtime: What they show.
        access: Who may see them. None: whoever gets a connection.

    Raises:
        SettingsError: They can't be served there.
    """
    if not settings.web_listen:
        yield
        return
    host, _, port = settings.web_listen.rpartition(":")
    tls: ssl.SSLContext | None = tls_context(settings) if settings.tls_cert else None
    answer = _checked(Site(runtime, settings.sec_id).answer, access)
    server = HttpServer(answer, check_host=tls is None and is_loopback(host))
    try:
        served = await server.start(host.strip("[]"), int(port), tls)
    except OSError as error:
        raise SettingsError(f"web_listen: can't serve on {settings.web_listen}: {error.strerror or error}") from error
    log.info("web_ready", address=f"{'http' if tls is None else 'https'}://{host}:{served}/")
    try:
        yield
    finally:
        await server.stop()


def _checked(answer: Handler, access: Access | None) -> Handler:
    if access is None:
        return answer

    async def checked(request: Request) -> Response:
        party = access.find(_token(request.headers.get("authorization", "")), request.certificate)
        if party is None:
            refusal = plain(401, "give a token as the password, under any name")
            return msgspec.structs.replace(refusal, headers=(("WWW-Authenticate", 'Basic realm="sagaline"'),))
        if not may_look(party):
            return plain(403, f"{party.name} may not see sagas: it may {', '.join(party.may)}")
        return await answer(request)

    return checked


def _token(authorization: str) -> str:
    """Return the token: of a program, or the password that a browser has asked for."""
    kind, _, value = authorization.partition(" ")
    if kind.lower() != "basic":
        return bearer(authorization)
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
