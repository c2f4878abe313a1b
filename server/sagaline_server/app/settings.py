"""Settings of a SEC: from the command line, the environment, a TOML file, and defaults, in this order.

An unknown key is an error, so that a misspelt one is not silently a default.
"""

from __future__ import annotations

import os
import socket
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

ENVIRONMENT_PREFIX = "SAGALINE_SERVER_"


class SettingsError(Exception):
    """A setting is wrong; the message names it, where it came from, and what it may be."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All settings. Times in seconds."""

    listen: str = "127.0.0.1:7070"
    """Address to serve on; port 0 takes a free one."""
    advertise: str = ""
    """Address that workers and clients are told to dial. Absent: the one served on."""
    sec_id: str = ""
    """Name of this SEC. Absent: the host's name."""
    store: Literal["sqlite", "etcd", "memory"] = "sqlite"
    """Where sagas are kept. Memory keeps nothing beyond the process."""
    data_dir: str = "sagaline-data"
    """Directory of the SQLite store."""
    etcd_endpoints: str = "127.0.0.1:2379"
    """Comma-separated."""
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
    insecure_listen: bool = False
    """True: plaintext is served even on an address that is not loopback."""
    metrics_listen: str = ""
    """Address of the Prometheus metrics. Absent: none are served."""
    reflection: bool = True
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    grace_timeout: float = 20.0
    """How long attempts stay with a worker whose stream has ended."""
    heartbeat_interval: float = 5.0
    heartbeat_timeout: float = 15.0
    shutdown_timeout: float = 10.0


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
    if config_file is not None:
        values |= _read_file(config_file)
    for name, value in (os.environ if environment is None else environment).items():
        if name.startswith(ENVIRONMENT_PREFIX):
            values[name.removeprefix(ENVIRONMENT_PREFIX).lower()] = value
    values |= overrides
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings: {error}") from error
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
    host, _, port = settings.listen.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(f"settings: listen is HOST:PORT, not {settings.listen!r}")
    metrics_port = settings.metrics_listen.rpartition(":")[2]
    if settings.metrics_listen and not metrics_port.isdecimal():
        raise SettingsError(f"settings: metrics_listen is HOST:PORT, not {settings.metrics_listen!r}")
    if bool(settings.tls_cert) != bool(settings.tls_key):
        raise SettingsError("settings: tls_cert and tls_key go together")
    is_local = host in ("127.0.0.1", "localhost", "[::1]") or host.startswith("127.")
    if not is_local and not settings.tls_cert and not settings.insecure_listen:
        raise SettingsError(
            f"settings: {host} is not loopback, and there is no tls_cert; set it, or insecure_listen to serve plaintext"
        )
    if settings.heartbeat_timeout <= settings.heartbeat_interval:
        raise SettingsError("settings: heartbeat_timeout is more than heartbeat_interval")
    if settings.lease_ttl < 2:  # noqa: PLR2004 - etcd grants no shorter one
        raise SettingsError("settings: lease_ttl is at least 2")
    return settings if settings.sec_id else msgspec.structs.replace(settings, sec_id=_host_name())


def _host_name() -> str:
    kept = "".join(c if c.isalnum() or c in "._-" else "-" for c in socket.gethostname())
    return kept.strip(".-")[:64] or "sec"
