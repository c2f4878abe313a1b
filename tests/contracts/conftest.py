"""Every contract test runs on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.clusters import Cluster, EtcdCluster, MemoryCluster, ShardedMemoryCluster, SqliteCluster
from tests.etcd_server import EtcdServer, etcd_server, second_etcd_server

__all__ = ["etcd_server", "second_etcd_server"]

ETCD = pytest.param("etcd", marks=pytest.mark.etcd)
TWO_ETCDS = pytest.param("two etcds", marks=pytest.mark.etcd)


async def _cluster(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Cluster]:
    cluster: Cluster
    match request.param:
        case "memory":
            cluster = MemoryCluster()
        case "two memories":
            cluster = ShardedMemoryCluster()
        case "sqlite":
            cluster = SqliteCluster(directory)
        case _:
            names = ["etcd_server"] if request.param == "etcd" else ["etcd_server", "second_etcd_server"]
            servers: list[EtcdServer] = [request.getfixturevalue(name) for name in names]
            cluster = EtcdCluster(*servers)
    yield cluster
    await cluster.end()


@pytest.fixture(params=["memory", "two memories", "sqlite", ETCD, TWO_ETCDS])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A store of each kind. One SEC at a time lives on it."""
    async for each in _cluster(request, tmp_path):
        yield each


@pytest.fixture(params=["memory", "two memories", ETCD, TWO_ETCDS])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A store of each kind that several SECs can share."""
    async for each in _cluster(request, tmp_path):
        yield each
