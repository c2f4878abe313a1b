"""Settings of a SEC: from the command line, the environment, a TOML file, and defaults, in this order.

An unknown key is an error, so that a misspelt one is not silently a default.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import msgspec

from sagaline_server.core import limits

ENVIRONMENT_PREFIX = "SAGALINE_SERVER_"
PORT_MAX = 65_535

_SEC_ID = re.compile(rf"[A-Za-z0-9._-]{{1,{limits.SEC_ID_CHARS}}}")
_OF_ORCHESTRATORS = re.compile(rf"{ENVIRONMENT_PREFIX}(SERVICE_(HOST|PORT\w*)|PORT(_\d+_\w+)?)")
"""Kubernetes puts these into every container beside a service that is called sagaline-server."""


class SettingsError(Exception):
    """A setting is wrong; the message names it, where it came from, and what it may be."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. Times in seconds."""

    listen: str = "127.0.0.1:7070"
    """Address to serve on; port 0 takes a free one."""
    advertise: str = ""
    """Address that workers and clients are told to dial. Absent: the one served on, with the host's name where that
    is every address of the host."""
    sec_id: str = ""
    """Name of this SEC. Absent: the host's name."""
    store: Literal["sqlite", "etcd", "memory"] = "sqlite"
    """Where sagas are kept. Memory keeps nothing beyond the process."""
    data_dir: str = "sagaline-data"
    """Directory of the SQLite store."""
    etcd_endpoints: str = "127.0.0.1:2379"
    """Members of the etcd cluster, comma-separated. Several clusters, separated by ';', share the sagas by their ids:
    always list all of them, in one order."""
    etcd_prefix: str = "/sagaline/"
    etcd_ca: str = ""
    etcd_cert: str = ""
    etcd_key: str = ""
    etcd_user: str = ""
    etcd_password: str = ""
    lease_ttl: int = 10
    """How long a dead SEC keeps its sagas, on etcd."""
    tls_cert: str = ""
    """Certificate file to serve TLS with. Absent: plaintext, for loopback and trusted networks only."""
    tls_key: str = ""
    tls_client_ca: str = ""
    """Set: clients and workers must have a certificate of this authority."""
    access_file: str = ""
    """TOML file of the parties that may call, with their roles. Absent: whoever gets a connection may do everything."""
    peer_token_file: str = ""
    """File with the token that this SEC shows to other SECs, where it shows them no certificate that they know."""
    insecure_listen: bool = False
    """True: plaintext is served even on an address that is not loopback."""
    web_listen: str = ""
    """Address of the pages that show sagas to a browser, read-only; with the same certificates. Absent: none."""
    metrics_listen: str = ""
    """Address of the Prometheus metrics. Absent: none are served."""
    trace_endpoint: str = ""
    """Address of the OpenTelemetry collector (OTLP over gRPC) that gets spans of sagas. Absent: none are made."""
    trace_ca: str = ""
    """Authority of the collector's certificate. Absent: plaintext."""
    reflection: bool = True
    channelz: bool = False
    """True: clients may ask for the channels and sockets of the process, with the addresses of their peers."""
    fault_injection: bool = False
    """True: clients may inject faults, among them one that ends the process. For tests alone; the same on every SEC."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    grace_timeout: float = 20.0
    """How long attempts stay with a worker whose stream has ended."""
    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 15.0
    shutdown_timeout: float = 10.0
    drain_timeout: float = 30.0
    """How long handing everything off may take when the SEC stops."""
    compact_after: float = 7 * 86_400.0
    """How long after its end a saga's log is kept; record and summary stay. 0: as long as the saga."""
    remove_after: float = 30 * 86_400.0
    """How long a finished saga is kept; after that its id may be used again, for another saga. 0: for ever."""
    retention_interval: float = 300.0
    """Pause between two looks at all finished sagas."""
    archive: str = ""
    """Where finished sagas are put before anything of them is deleted: a directory, or postgresql://… Absent: nowhere.
    """


def load_settings(
    config_file: str | None, overrides: Mapping[str, str], environment: Mapping[str, str] | None = None
) -> Settings:
    """Return the settings.

    Args:
        config_file: A TOML file; None: none.
        overrides: From the command line, by name.
        environment: Variables, of which those named SAGALINE_SERVER_… count. None: the process's.

    Raises:
        SettingsError: Something is unknown or has a wrong value.
    """
    values: dict[str, object] = {}
    sources: dict[str, str] = {}

    def take(given: Mapping[str, object], source: str) -> None:
        values.update(given)
        sources.update(dict.fromkeys(given, source))

    if config_file is not None:
        take(_read_file(config_file), f"in {config_file}")
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX) and not _OF_ORCHESTRATORS.fullmatch(name):
            take({name.removeprefix(ENVIRONMENT_PREFIX).lower(): value}, f"from {name}")
    take(overrides, "from the command line")
    for name in values:
        if name not in Settings.__struct_fields__:
            raise SettingsError(f"settings: {name}, {sources[name]}, is no setting")
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        message, _, name = str(error).partition(" - at `$.")
        name = name.rstrip("`")
        choices = get_args(get_type_hints(Settings).get(name))
        may_be = f"; it is one of {', '.join(choices)}" if choices else ""
        raise SettingsError(f"settings: {name}, {sources.get(name, 'a default')}: {message}{may_be}") from error
    return _checked(settings)


def _read_file(path: str) -> dict[str, object]:
    try:
        with Path(path).open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"settings file {path}: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"settings file {path}: {error}") from error


def _checked(settings: Settings) -> Settings:
    _check_addresses(settings)
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError("settings: tls_cert and tls_key go together")
    if settings.trace_ca and not settings.trace_endpoint:
        raise SettingsError("settings: trace_ca is for trace_endpoint, which is not set")
    if settings.tls_client_ca and not settings.tls_cert:
        raise SettingsError("settings: tls_client_ca needs tls_cert and tls_key; without them nobody is asked")
    for name in ("grace_timeout", "heartbeat_interval", "heartbeat_timeout", "shutdown_timeout", "retention_interval"):
        if not 0 < getattr(settings, name) < float("inf"):
            raise SettingsError(f"settings: {name} must be a number of seconds above 0")
    for name in ("compact_after", "remove_after"):
        if not 0 <= getattr(settings, name) < float("inf"):
            raise SettingsError(f"settings: {name} must be a number of seconds; 0 is for ever")
    if settings.heartbeat_timeout <= settings.heartbeat_interval:
        raise SettingsError("settings: heartbeat_timeout must be more than heartbeat_interval")
    if settings.lease_ttl < 2:  # noqa: PLR2004 - etcd grants no shorter one
        raise SettingsError("settings: lease_ttl must be at least 2 seconds")
    named = settings if settings.sec_id else msgspec.structs.replace(settings, sec_id=_host_name())
    if not _SEC_ID.fullmatch(named.sec_id):
        raise SettingsError(f"settings: sec_id has 1 to {limits.SEC_ID_CHARS} characters of [A-Za-z0-9._-]")
    return named


def _check_addresses(settings: Settings) -> None:
    for name in ("listen", "advertise", "metrics_listen", "web_listen", "trace_endpoint"):
        address: str = getattr(settings, name)
        host, _, port = address.rpartition(":")
        is_wanted = bool(address) or name == "listen"
        if is_wanted and not (host and "/" not in host and port.isdecimal() and int(port) <= PORT_MAX):
            raise SettingsError(f"settings: {name} is HOST:PORT, not {address!r}")
    for name in ("listen", "web_listen"):
        host = getattr(settings, name).rpartition(":")[0]
        if host and not is_loopback(host) and not settings.tls_cert and not settings.insecure_listen:
            raise SettingsError(
                f"settings: {name}: {host} is not loopback, and there is no tls_cert; "
                "set it, or insecure_listen to serve plaintext"
            )


def is_loopback(host: str) -> bool:
    """Say whether an address can be reached from this host alone."""
    return host in ("localhost", "[::1]") or host.startswith("127.")


def _host_name() -> str:
    kept = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    return kept.strip(".-")[: limits.SEC_ID_CHARS] or "sec"
