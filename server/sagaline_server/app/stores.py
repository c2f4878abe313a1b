"""The store and the archive that the settings ask for."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from sagaline_server.app.settings import Settings, SettingsError
from sagaline_server.app.system import SystemRandom
from sagaline_server.ports.archive import Archive
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import ClusterStore

if TYPE_CHECKING:
    from sagaline_server.store.etcd.options import EtcdOptions

# Only the store in use is imported: grpc stubs of etcd cost start-up time that SQLite users need not pay.


def make_store(settings: Settings, clock: Clock) -> ClusterStore:
    """Return the store, not yet open.

    Raises:
        SettingsError: Its settings are wrong.
    """
    if settings.store == "sqlite":
        from sagaline_server.store.sqlite import SqliteStore  # noqa: PLC0415 - see above

        return SqliteStore(_directory(settings.data_dir))
    if settings.store == "memory":
        from sagaline_server.store.memory import MemoryBackend, MemoryStore  # noqa: PLC0415 - see above

        return MemoryStore(MemoryBackend())
    return _etcd(settings, clock)


def make_archive(settings: Settings) -> Archive | None:
    """Return the archive of finished sagas; None where none is asked for.

    Raises:
        SettingsError: It needs what is not installed.
    """
    if not settings.archive:
        return None
    if settings.archive.startswith(("postgresql://", "postgres://")):
        try:
            from sagaline_server.store.archive_postgres import PostgresArchive  # noqa: PLC0415 - an extra
        except ImportError as error:
            message = f"settings: archive: PostgreSQL needs psycopg; install sagaline-server[postgres] ({error})"
            raise SettingsError(message) from error
        return PostgresArchive(settings.archive)
    from sagaline_server.store.archive_directory import DirectoryArchive  # noqa: PLC0415 - see above

    return DirectoryArchive(Path(settings.archive))


def _etcd(settings: Settings, clock: Clock) -> ClusterStore:
    from sagaline_server.store.etcd.store import EtcdStore  # noqa: PLC0415 - see above

    clusters = [part for part in settings.etcd_endpoints.split(";") if part.strip()]
    if len(clusters) <= 1:
        return EtcdStore(_options(settings, "".join(clusters)), clock)
    from sagaline_server.store.etcd.shards import agree  # noqa: PLC0415 - see above
    from sagaline_server.store.sharded import ShardedStore  # noqa: PLC0415 - see above

    options = [replace(_options(settings, part), is_shard=True) for part in clusters]
    parts = [EtcdStore(each, clock) for each in options]
    return ShardedStore(parts, clock, agree=partial(agree, options, SystemRandom().writer_id().hex()))


def _options(settings: Settings, endpoints: str) -> EtcdOptions:
    from sagaline_server.store.etcd.options import EtcdOptions, EtcdTls  # noqa: PLC0415 - see above

    tls = None
    if settings.etcd_ca or settings.etcd_cert:
        tls = EtcdTls(ca=_read(settings.etcd_ca), certificate=_read(settings.etcd_cert), key=_read(settings.etcd_key))
    try:
        return EtcdOptions(
            endpoints=tuple(part.strip() for part in endpoints.split(",") if part.strip()),
            prefix=settings.etcd_prefix,
            user=settings.etcd_user or None,
            password=settings.etcd_password or None,
            tls=tls,
            lease_seconds=settings.lease_ttl,
            lease_margin=min(1.0, settings.lease_ttl / 4),
        )
    except ValueError as error:
        raise SettingsError(f"settings: {error}") from error


def _directory(path: str) -> Path:
    """Return the directory, made where it is missing: what can't be had now won't come by waiting."""
    directory = Path(path)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(f"settings: data_dir: {directory} can't be used: {error.strerror}") from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise SettingsError(f"settings: data_dir: {directory} can't be written to by this user")
    return directory


def _read(path: str) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SettingsError(f"settings: {path}: {error.strerror}") from error
