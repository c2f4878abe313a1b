"""How etcd is reached, and how patient a SEC is with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from sagaline_server.ports.cluster import RELIST_SECONDS


@dataclass(frozen=True)
class EtcdTls:
    """How the connection is encrypted. All contents are PEM."""

    ca: bytes | None = None
    """Certificates to trust. None: the system's."""
    certificate: bytes | None = None
    """The client's own, with its key, where etcd asks for one."""
    key: bytes | None = field(default=None, repr=False)
    server_name: str | None = None
    """Name that the server's certificate must have, where it is not the endpoint's."""


@dataclass(frozen=True)
class EtcdOptions:
    """How etcd is reached."""

    endpoints: tuple[str, ...]
    """`host:port` of members of one cluster, in the order in which they are tried."""
    prefix: str = "sagaline"
    """What all keys start with. SECs with the same prefix share their sagas."""
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: EtcdTls | None = None
    call_seconds: float = 5.0
    """Deadline of one call, connecting included."""
    lease_seconds: int = 10
    """How long a SEC that is silent keeps its sagas. etcd may grant more."""
    lease_margin: float = 1.0
    """Seconds before the end of the lease at which dispatching stops."""
    relist_seconds: float = RELIST_SECONDS
    """Longest time between two Resyncs of a watch."""
    silence_seconds: float = 4.0
    """After so much silence on a watch etcd is asked whether it is there, and after twice as much the watch counts as
    broken."""
    heal_seconds: float = 30.0
    """How long whoever follows a log waits for an etcd that is away before it is told."""
    is_shard: bool = False
    """True: the cluster is one of several that a cell's sagas are spread over. False: one that is, is refused."""

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("etcd needs at least one endpoint")
        if (self.user is None) != (self.password is None):
            raise ValueError("etcd's user and password go together")
        if not 0 < self.lease_margin <= self.lease_seconds / 3:
            raise ValueError("the lease's margin is more than a third of the lease, or nothing")
