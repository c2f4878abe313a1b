"""What holds for every command: which SEC to ask, how long to wait for it, and how to print.

The options may stand before the command or after it; after it wins.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from sagaline.cli.durations import seconds
from sagaline.cli.interrupts import leaving_at_once

if TYPE_CHECKING:
    import grpc

    from sagaline.sync import Client

ADDRESS_DEFAULT = "localhost:7070"
TIMEOUT_DEFAULT_S = 10.0
PATIENCE_S = 3.0
"""How long a command goes on trying to reach a SEC before it gives up."""

PATIENCE_WAITING_S = 60.0
"""The same for commands that wait anyway: they are to outlive the restart of a SEC."""

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Settings:
    """The options that every command has; None where the user gave none."""

    given_addresses: Sequence[str] | None = None
    given_timeout_s: float | None = None
    given_output: str | None = None
    given_ca: str | None = None
    given_cert: str | None = None
    given_key: str | None = None
    given_token_file: str | None = None

    @property
    def named(self) -> list[str]:
        """The SECs that the option names, else those that the environment does."""
        from sagaline.addresses import split_addresses

        given = split_addresses(self.given_addresses or ())
        return given or split_addresses(os.environ.get("SAGALINE_ADDRESS") or "")

    @property
    def addresses(self) -> list[str]:
        """The SECs to ask: the named ones, else this machine."""
        return self.named or [ADDRESS_DEFAULT]

    @property
    def json(self) -> bool:
        """Whether to print for programs."""
        return self.given_output == "json"

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return the TLS credentials that the options or the environment name; None: plain text.

        Raises:
            UnusableInput: A file cannot be used.
        """
        ca = self.given_ca or os.environ.get("SAGALINE_CA")
        cert = self.given_cert or os.environ.get("SAGALINE_CERT")
        key = self.given_key or os.environ.get("SAGALINE_KEY")
        token = self._token()
        if not (ca or cert or key or token):
            return None
        from sagaline.cli.tls import channel_credentials, with_token

        found = channel_credentials(ca or None, cert or None, key or None)
        return with_token(found, token) if token else found

    def _token(self) -> str:
        if self.given_token_file is None:
            return os.environ.get("SAGALINE_TOKEN") or ""
        from sagaline.cli.loading import read_text

        return read_text(self.given_token_file).strip()

    def checked_addresses(self) -> list[str]:
        """Return the SECs to ask.

        Raises:
            UnusableInput: One is no address.
        """
        for address in self.addresses:
            if ":" not in address:
                from sagaline.cli.exits import UnusableInput

                raise UnusableInput(f"{address!r} is not the address of a SEC: give HOST:PORT")
        return self.addresses

    @contextmanager
    def client(self, *, waits: bool = False) -> Iterator[Client]:
        """Open a client of the SEC, for as long as the context lasts. `waits`: for a command that waits anyway."""
        from sagaline.sync import Client

        addresses = self.checked_addresses()
        timeout_s = self.given_timeout_s or TIMEOUT_DEFAULT_S
        patience_s = PATIENCE_WAITING_S if waits else PATIENCE_S
        credentials = self.credentials()
        client = Client(addresses, credentials=credentials, timeout_s=timeout_s, patience_s=patience_s)
        with leaving_at_once(), client:
            yield client


def _stores(attribute: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def store(context: click.Context, _parameter: click.Parameter, value: Any) -> None:
        settings = context.find_root().ensure_object(Settings)
        if value is not None and value != ():
            setattr(settings, attribute, value)

    return store


_ADDRESS = click.option(
    "--address",
    metavar="HOST:PORT",
    multiple=True,
    expose_value=False,
    callback=_stores("given_addresses"),
    help="The SEC to ask. Several, given one by one or with commas between them, stand in for each other.  "
    f"[env: SAGALINE_ADDRESS; default: {ADDRESS_DEFAULT}]",
)
_CA = click.option(
    "--ca",
    metavar="FILE",
    expose_value=False,
    callback=_stores("given_ca"),
    help="TLS: certificates of the authorities to trust.  [env: SAGALINE_CA; default: plain text]",
)
_CERT = click.option(
    "--cert",
    metavar="FILE",
    expose_value=False,
    callback=_stores("given_cert"),
    help="TLS: certificate to show.  [env: SAGALINE_CERT]",
)
_KEY = click.option(
    "--key",
    metavar="FILE",
    expose_value=False,
    callback=_stores("given_key"),
    help="TLS: the certificate's private key.  [env: SAGALINE_KEY]",
)
_TOKEN = click.option(
    "--token-file",
    metavar="FILE",
    expose_value=False,
    callback=_stores("given_token_file"),
    help="File with the token to show, over TLS.  [env: SAGALINE_TOKEN, the token itself]",
)
_TIMEOUT = click.option(
    "--timeout",
    type=seconds,
    metavar="DURATION",
    expose_value=False,
    callback=_stores("given_timeout_s"),
    help=f'How long a call may take, such as "500ms" or "30s".  [default: {TIMEOUT_DEFAULT_S:.0f}s]',
)
_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    expose_value=False,
    callback=_stores("given_output"),
    help="For people, or the protobuf JSON mapping for programs.  [default: table]",
)


def common_options(command: F) -> F:
    """Give a command the options that every command has."""
    return _ADDRESS(_CA(_CERT(_KEY(_TOKEN(_TIMEOUT(_OUTPUT(command)))))))


def output_option(command: F) -> F:
    """Give a command that asks no SEC the choice of output alone."""
    return _OUTPUT(command)


pass_settings = click.make_pass_decorator(Settings, ensure=True)
