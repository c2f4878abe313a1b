"""Every contract test runs on every store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contracts.clusters import Cluster, EtcdCluster, MemoryCluster, SqliteCluster
from tests.etcd_server import EtcdServer, etcd_server

__all__ = ["etcd_server"]

ETCD = pytest.param("etcd", marks=pytest.mark.etcd)


async def _cluster(request: pytest.FixtureRequest, directory: Path) -> AsyncIterator[Cluster]:
    cluster: Cluster
    match request.param:
        case "memory":
            cluster = MemoryCluster()
        case "sqlite":
            cluster = SqliteCluster(directory)
        case _:
            server: EtcdServer = request.getfixturevalue("etcd_server")
            cluster = EtcdCluster(server)
    yield cluster
    await cluster.end()


@pytest.fixture(params=["memory", "sqlite", ETCD])
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A store of each kind. One SEC at a time lives on it."""
    async for each in _cluster(request, tmp_path):
        yield each


@pytest.fixture(params=["memory", ETCD])
async def shared(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster]:
    """A store of each kind that several SECs can share."""
    async for each in _cluster(request, tmp_path):
        yield each
