"""TLS for the commands: from the files that options name to gRPC's credentials.

The files are checked before any SEC is dialled: gRPC itself would only say that no connection came about.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc

from sagaline.cli.exits import UnusableInput


def with_token(credentials: grpc.ChannelCredentials | None, token: str) -> grpc.ChannelCredentials:
    """Return credentials that show a token with every call.

    Raises:
        UnusableInput: There is no TLS: everybody on the way could read it.
    """
    if credentials is None:
        raise UnusableInput("a token is sent over TLS only: give --ca")
    return grpc.composite_channel_credentials(credentials, grpc.access_token_call_credentials(token))


def channel_credentials(ca: str | None, cert: str | None, key: str | None) -> grpc.ChannelCredentials | None:
    """Return the credentials that the files make; None where none is given: plain text.

    Args:
        ca: Certificates of the authorities that a SEC's certificate must come from. None: those that gRPC trusts.
        cert: Certificate to show to a SEC that asks for one, with the chain above it.
        key: Its private key, not encrypted.

    Raises:
        UnusableInput: A file is missing, cannot be read, or is not what it should be.
    """
    if ca is None and cert is None and key is None:
        return None
    if (cert is None) != (key is None):
        raise UnusableInput("--cert and --key go together")
    _check(ca, cert, key)
    return grpc.ssl_channel_credentials(
        root_certificates=Path(ca).read_bytes() if ca is not None else None,
        private_key=Path(key).read_bytes() if key is not None else None,
        certificate_chain=Path(cert).read_bytes() if cert is not None else None,
    )


def _check(ca: str | None, cert: str | None, key: str | None) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except OSError as error:
            raise UnusableInput(f"--ca {ca}: {_words(error)}") from error
    if cert is not None and key is not None:
        try:
            # The password is for nobody to ask the terminal for one: gRPC could not use such a key.
            context.load_cert_chain(cert, key, password="")
        except OSError as error:
            raise UnusableInput(f"--cert {cert} with --key {key}: {_words(error)}") from error


def _words(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return "no certificate, key, or pair of both in PEM that belong together"
    return error.strerror or str(error)
