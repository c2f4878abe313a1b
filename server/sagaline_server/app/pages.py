"""Serves the pages where the settings ask for them: with the same certificates as everything else."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from sagaline_server.app.settings import Settings, SettingsError, is_loopback
from sagaline_server.app.transport import tls_context
from sagaline_server.web.http import HttpServer
from sagaline_server.web.site import Site, WebRuntime

log = structlog.get_logger("sagaline.web")


@asynccontextmanager
async def pages(settings: Settings, runtime: WebRuntime) -> AsyncIterator[None]:
    """Serve the pages for as long as the context lasts.

    Raises:
        SettingsError: They can't be served there.
    """
    if not settings.web_listen:
        yield
        return
    host, _, port = settings.web_listen.rpartition(":")
    tls: ssl.SSLContext | None = tls_context(settings) if settings.tls_cert else None
    server = HttpServer(Site(runtime, settings.sec_id).answer, check_host=tls is None and is_loopback(host))
    try:
        served = await server.start(host.strip("[]"), int(port), tls)
    except OSError as error:
        raise SettingsError(f"web_listen: can't serve on {settings.web_listen}: {error.strerror or error}") from error
    log.info("web_ready", address=f"{'http' if tls is None else 'https'}://{host}:{served}/")
    try:
        yield
    finally:
        await server.stop()
