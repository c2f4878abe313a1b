"""Calls to etcd: which endpoint is asked, as whom, for how long, and what a failure means.

One call is one request. Nothing that writes is ever sent twice in here, except
when etcd itself says that it did not look at it (an expired token); what to do
about an unknown outcome is decided by those who know what the request was.
Reads are tried at other endpoints.

gRPC's own balancing is not used: under it a hung leader stops everything for
seconds. Each endpoint has a channel, one of them is current, and a failure
makes the next one current.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import structlog
from aetcd import rpc

from sagaline_server.ports.store import StoreError

CONNECT_SECONDS = 1.0
"""How long one endpoint may take to connect before the next one is tried."""
RESPONSE_BYTES_MAX = 128 * 1024 * 1024
"""Pages are kept far below this. It only has to be more than the largest that one request can bring back."""

CHANNEL_OPTIONS: list[tuple[str, int | str]] = [
    ("grpc.max_receive_message_length", RESPONSE_BYTES_MAX),
    ("grpc.max_send_message_length", -1),  # etcd says what is too large, and then it is known that it was refused
    ("grpc.keepalive_time_ms", 10_000),  # etcd takes pings less than 5 s apart for an attack
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    ("grpc.lb_policy_name", "pick_first"),
]

# Without it a member that has lost its quorum keeps calls and streams waiting in silence.
HAS_LEADER = ("hasleader", "true")

TOO_LARGE = ("request is too large", "too many operations", "grpc: received message larger than max")
LOGIN_AGAIN = ("invalid auth token", "user name is empty", "auth store is old")

log = structlog.get_logger(__name__)


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

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise ValueError("etcd needs at least one endpoint")
        if (self.user is None) != (self.password is None):
            raise ValueError("etcd's user and password go together")
        if not 0 < self.lease_margin <= self.lease_seconds / 3:
            raise ValueError("the lease's margin is more than a third of the lease, or nothing")


class EtcdError(StoreError):
    """A call failed. Unless it says otherwise, a write may have happened or may still happen."""

    def __init__(self, code: grpc.StatusCode, details: str, endpoint: str) -> None:
        super().__init__(f"etcd at {endpoint}: {code.name}: {details}")
        self.code = code
        self.too_large = code in (
            grpc.StatusCode.INVALID_ARGUMENT,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
        ) and any(reason in details for reason in TOO_LARGE)
        """True: etcd refused it for its size; it was not carried out."""
        self.answer_too_large = (
            code is grpc.StatusCode.RESOURCE_EXHAUSTED and "Received message larger than max" in details
        )
        """True: the answer did not fit."""
        self.compacted = code is grpc.StatusCode.OUT_OF_RANGE
        """True: the revision to read at is gone."""


class EtcdChannel:
    """All that is asked of etcd goes through here.

    Args:
        options: Where and how.
    """

    def __init__(self, options: EtcdOptions) -> None:
        self._options = options
        self._members = [_Member(endpoint, options.tls) for endpoint in options.endpoints]
        self._current = 0
        self._cluster_id = 0
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def txn(self, request: Any) -> Any:
        """Send one transaction, once.

        Raises:
            EtcdError: It may or may not have been carried out, unless the error says otherwise.
        """
        return await self._call(lambda member: member.kv.Txn, request, self._options.call_seconds)

    async def read(self, request: Any) -> Any:
        """Read a range, or with a transaction of ranges; try each endpoint before giving up.

        Raises:
            EtcdError: No endpoint could answer.
        """
        transaction = isinstance(request, rpc.TxnRequest)
        for attempts_left in reversed(range(max(2, len(self._members)))):
            try:
                return await self._call(
                    lambda member: member.kv.Txn if transaction else member.kv.Range,
                    request,
                    self._options.call_seconds,
                )
            except EtcdError as error:
                if attempts_left == 0 or error.code not in ELSEWHERE:
                    raise
        raise AssertionError

    async def grant(self, seconds: int) -> tuple[int, int]:
        """Make a lease; etcd chooses its id.

        Returns:
            The id, and the seconds that were granted, which may differ from those asked for.
        """
        request = rpc.LeaseGrantRequest(TTL=seconds)
        response = await self._call(lambda member: member.lease.LeaseGrant, request, self._options.call_seconds)
        return response.ID, response.TTL

    async def keep_alive(self, lease_id: int, seconds: float) -> int:
        """Renew a lease once. A stream for each time, so that a broken stream needs no care of its own.

        Returns:
            Seconds that the lease has from some moment after this call began; 0 where the lease is gone.
        """

        async def exchange(member: _Member, timeout: float, metadata: Metadata) -> Any:
            requests = [rpc.LeaseKeepAliveRequest(ID=lease_id)]
            call = member.lease.LeaseKeepAlive(iter(requests), timeout=timeout, metadata=metadata)
            try:
                responses = [response async for response in call]
            finally:
                call.cancel()
            if not responses:
                raise EtcdError(grpc.StatusCode.UNAVAILABLE, "the stream ended without an answer", member.endpoint)
            return responses[0]

        response = await self._exchange(exchange, seconds)
        ttl: int = response.TTL
        return ttl

    async def revoke(self, lease_id: int) -> None:
        """End a lease; its keys go with it."""
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        await self._call(lambda member: member.lease.LeaseRevoke, request, self._options.call_seconds)

    async def close(self) -> None:
        """Close every connection. Calls that are still under way are cancelled."""
        for member in self._members:
            await member.channel.close()

    async def _call(self, method: Callable[[_Member], Any], request: Any, seconds: float) -> Any:
        async def exchange(member: _Member, timeout: float, metadata: Metadata) -> Any:
            return await method(member)(request, timeout=timeout, metadata=metadata)

        return await self._exchange(exchange, seconds)

    async def _exchange(self, exchange: Callable[[_Member, float, Metadata], Any], seconds: float) -> Any:
        """Do one exchange with the current endpoint; once more with a new token, if that was all that was wrong."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for may_log_in in (True, False):
            member = await self._ready_member(deadline)
            token = await self._log_in(member, deadline)
            metadata = (HAS_LEADER,) if token is None else (HAS_LEADER, ("token", token))
            try:
                response = await exchange(member, max(0.0, deadline - loop.time()), metadata)
            except grpc.aio.AioRpcError as error:
                if may_log_in and token is not None and _wants_login(error):
                    self._forget(token)
                    continue
                raise self._failure(member, error) from error
            self._check_cluster(member, response.header.cluster_id)
            return response
        raise AssertionError

    async def _ready_member(self, deadline: float) -> _Member:
        """Return a connected endpoint, the current one if it is.

        A call to an endpoint that is not connected would fail at once, or hang; waiting here costs nothing and
        leaves no doubt about whether anything was sent.
        """
        loop = asyncio.get_running_loop()
        while True:
            member = self._members[self._current]
            left = deadline - loop.time()
            if await member.connected(min(left, CONNECT_SECONDS)):
                return member
            self._leave(member)
            if left <= CONNECT_SECONDS:
                raise EtcdError(grpc.StatusCode.UNAVAILABLE, "no connection; nothing was sent", member.endpoint)

    async def _log_in(self, member: _Member, deadline: float) -> str | None:
        if self._options.user is None or self._token is not None:
            return self._token
        loop = asyncio.get_running_loop()
        async with self._login:
            if self._token is None:
                request = rpc.AuthenticateRequest(name=self._options.user, password=self._options.password)
                try:
                    response = await member.auth.Authenticate(request, timeout=max(0.0, deadline - loop.time()))
                except grpc.aio.AioRpcError as error:
                    raise self._failure(member, error) from error
                self._token = response.token
            return self._token

    def _forget(self, token: str) -> None:
        if self._token == token:
            self._token = None

    def _failure(self, member: _Member, error: grpc.aio.AioRpcError) -> EtcdError:
        code, details = error.code(), error.details() or ""
        if code in ELSEWHERE:
            self._leave(member)
        return EtcdError(code, details, member.endpoint)

    def _leave(self, member: _Member) -> None:
        """Make the next endpoint current, unless another call has done so already."""
        if len(self._members) > 1 and self._members[self._current] is member:
            self._current = (self._current + 1) % len(self._members)
            log.warning("etcd_endpoint_left", endpoint=member.endpoint, next=self._members[self._current].endpoint)

    def _check_cluster(self, member: _Member, cluster_id: int) -> None:
        """Refuse the answer of another cluster: its revisions and leases mean nothing here."""
        if self._cluster_id == 0:
            self._cluster_id = cluster_id
        if cluster_id != self._cluster_id:
            self._leave(member)
            raise EtcdError(grpc.StatusCode.UNAVAILABLE, "it belongs to another cluster", member.endpoint)


Metadata = Sequence[tuple[str, str]]

ELSEWHERE = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Codes after which another endpoint may do better. A write that ended so is of unknown outcome."""


class _Member:
    """One endpoint and its channel, which reconnects by itself."""

    def __init__(self, endpoint: str, tls: EtcdTls | None) -> None:
        self.endpoint = endpoint
        self.channel = _connect(endpoint, tls)
        self.kv = rpc.KVStub(self.channel)
        self.lease = rpc.LeaseStub(self.channel)
        self.auth = rpc.AuthStub(self.channel)

    async def connected(self, seconds: float) -> bool:
        """Wait until the channel is connected; tell whether it is."""
        state = self.channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.READY:
            return True
        try:
            async with asyncio.timeout(seconds):
                while state is not grpc.ChannelConnectivity.READY:
                    await self.channel.wait_for_state_change(state)
                    state = self.channel.get_state(try_to_connect=True)
        except TimeoutError:
            return False
        return True


def _connect(endpoint: str, tls: EtcdTls | None) -> grpc.aio.Channel:
    if tls is None:
        return grpc.aio.insecure_channel(endpoint, options=CHANNEL_OPTIONS)
    credentials = grpc.ssl_channel_credentials(tls.ca, tls.key, tls.certificate)
    name = [("grpc.ssl_target_name_override", tls.server_name)] if tls.server_name else []
    return grpc.aio.secure_channel(endpoint, credentials, options=[*CHANNEL_OPTIONS, *name])


def _wants_login(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether etcd refused the token, so that the request was not looked at."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return True
    return error.code() is grpc.StatusCode.INVALID_ARGUMENT and any(
        reason in (error.details() or "") for reason in LOGIN_AGAIN
    )
