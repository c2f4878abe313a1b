"""The gRPC server: its options, its credentials and its address."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc

from sagaline_server.app.settings import Settings, SettingsError

MAX_RECEIVE_BYTES = 4 * 1024 * 1024
MAX_SEND_BYTES = 16 * 1024 * 1024

WILDCARDS = ("0.0.0.0", "[::]")  # noqa: S104 - they are only recognised here

OPTIONS = (
    # Two servers on one port would split connections between them without a word.
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MAX_RECEIVE_BYTES),
    ("grpc.max_send_message_length", MAX_SEND_BYTES),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The default is five minutes, and ends workers' connections as "too many pings".
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.max_metadata_size", 16 * 1024),
)


def make_server(interceptors: Sequence[grpc.aio.ServerInterceptor]) -> grpc.aio.Server:
    """Return a server without services."""
    return grpc.aio.server(interceptors=list(interceptors), options=OPTIONS)


def bind(server: grpc.aio.Server, settings: Settings) -> str:
    """Bind the server to its address; returns "host:port" as others may dial it.

    Raises:
        SettingsError: It can't be bound, or the certificate can't be read.
    """
    host = settings.listen.rpartition(":")[0]
    _check_free(settings.listen)
    try:
        if settings.tls_cert:
            port = server.add_secure_port(settings.listen, _credentials(settings))
        else:
            port = server.add_insecure_port(settings.listen)
    except RuntimeError as error:
        raise SettingsError(f"listen: can't serve on {settings.listen}: is another process using it?") from error
    # "Every address of this host" means something else on every other host.
    return f"{socket.gethostname() if host in WILDCARDS else host}:{port}"


def _check_free(listen: str) -> None:
    """Take the port for a moment: gRPC's own error says no more than that it can't be had."""
    host, _, port = listen.rpartition(":")
    try:
        family, *_, address = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        socket.create_server(address[:2], family=family).close()
    except OSError as error:
        why = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            why = "another process is using it, perhaps another SEC: stop that, or take another port"
        raise SettingsError(f"listen: can't serve on {listen}: {why}") from error


def tls_context(settings: Settings) -> ssl.SSLContext:
    """Return what serves TLS with the settings' certificates.

    Raises:
        SettingsError: One can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key, password="")
    except OSError as error:
        files = f"tls_cert {settings.tls_cert} with tls_key {settings.tls_key}"
        raise SettingsError(f"settings: {files}: {_words(error)}") from error
    if settings.tls_client_ca:
        try:
            context.load_verify_locations(cafile=settings.tls_client_ca)
        except OSError as error:
            raise SettingsError(f"settings: tls_client_ca {settings.tls_client_ca}: {_words(error)}") from error
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def _credentials(settings: Settings) -> grpc.ServerCredentials:
    tls_context(settings)  # gRPC only says that it can't serve there, whatever is wrong with a file
    pair = (Path(settings.tls_key).read_bytes(), Path(settings.tls_cert).read_bytes())
    ca = Path(settings.tls_client_ca).read_bytes() if settings.tls_client_ca else None
    return grpc.ssl_server_credentials([pair], root_certificates=ca, require_client_auth=ca is not None)


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "no certificates, or no key that belongs to them, in PEM"
    return error.strerror or str(error)


class _Shows(grpc.aio.UnaryUnaryClientInterceptor):
    """Shows a token with every call."""

    def __init__(self, token: str) -> None:
        self._authorization = f"Bearer {token}"

    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: grpc.aio.ClientCallDetails, request: Any
    ) -> Any:
        told = client_call_details
        metadata = grpc.aio.Metadata(*(told.metadata or ()), ("authorization", self._authorization))
        shown = grpc.aio.ClientCallDetails(told.method, told.timeout, metadata, told.credentials, told.wait_for_ready)
        return await continuation(shown, request)


def open_channel(settings: Settings, token: str, address: str) -> grpc.aio.Channel:
    """Open a channel to another SEC, with this one's own certificate and token where there are such."""
    shows = [_Shows(token)] if token else []
    if not settings.tls_cert:
        return grpc.aio.insecure_channel(address, interceptors=shows)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=Path(settings.tls_client_ca or settings.tls_cert).read_bytes(),
        private_key=Path(settings.tls_key).read_bytes(),
        certificate_chain=Path(settings.tls_cert).read_bytes(),
    )
    return grpc.aio.secure_channel(address, credentials, interceptors=shows)
