"""The configuration of Temporal's server: all services in one process, tables in PostgreSQL, nothing else unusual."""

from __future__ import annotations

import random
import socket
from contextlib import closing

PORTS = range(16_000, 32_000)
"""Its tables keep ports in two bytes with a sign: greater ones are refused."""
SHARDS = 512
"""What its documentation gives for small clusters in production; it can't be changed later."""
_CONNECTIONS = 20

_STORE = """\
    {store}:
      sql:
        pluginName: postgres12_pgx
        databaseName: {database}
        connectAddr: 127.0.0.1:{port}
        connectProtocol: tcp
        user: postgres
        maxConns: {connections}
        maxIdleConns: {connections}
"""
_SERVICE = """\
  {name}:
    rpc:
      grpcPort: {grpc}
      membershipPort: {membership}
      bindOnIP: 127.0.0.1
"""
_WHOLE = """\
log:
  stdout: true
  level: error
persistence:
  numHistoryShards: {shards}
  defaultStore: default
  visibilityStore: visibility
  datastores:
{stores}global:
  membership:
    maxJoinDuration: 30s
    broadcastAddress: 127.0.0.1
services:
{services}clusterMetadata:
  enableGlobalNamespace: false
  failoverVersionIncrement: 10
  masterClusterName: active
  currentClusterName: active
  clusterInformation:
    active:
      enabled: true
      initialFailoverVersion: 1
      rpcName: frontend
      rpcAddress: {address}
dcRedirectionPolicy:
  policy: noop
archival:
  history:
    state: disabled
  visibility:
    state: disabled
"""


def small_port() -> int:
    """Return a port that nobody uses now, and that its tables can hold."""
    while True:
        port = random.choice(PORTS)
        with closing(socket.socket()) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def config_of(address: str, postgres_port: int) -> str:
    """Return the configuration of a server whose clients dial `address`."""
    stores = "".join(
        _STORE.format(store=store, database=database, port=postgres_port, connections=_CONNECTIONS)
        for store, database in (("default", "temporal"), ("visibility", "temporal_visibility"))
    )
    ports = {name: str(small_port()) for name in ("history", "matching", "worker")}
    ports["frontend"] = address.rpartition(":")[2]
    services = "".join(_SERVICE.format(name=name, grpc=grpc, membership=small_port()) for name, grpc in ports.items())
    return _WHOLE.format(shards=SHARDS, stores=stores, services=services, address=address)
