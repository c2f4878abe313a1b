"""Calls to etcd: which endpoint is asked, as whom, for how long, and what a failure means.

One call is one request. Nothing that writes is ever sent twice in here, except
when etcd itself says that it did not look at it (an expired token); what to do
about an unknown outcome is decided by those who know what the request was.
Reads are tried at other endpoints.

gRPC's own balancing is not used: under it a hung leader stops everything for
seconds. Each endpoint has a channel, one of them is current, and a failure
makes the next one current. A new connection is asked first whether it leads to
the cluster that this process knows (`lineage.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import structlog
from aetcd import rpc

from sagaline_server.ports.store import StoreError, StoreRolledBack
from sagaline_server.store.etcd.keys import Keys
from sagaline_server.store.etcd.lineage import Lineage
from sagaline_server.store.etcd.members import Member
from sagaline_server.store.etcd.options import EtcdOptions, EtcdTls

__all__ = ["EtcdChannel", "EtcdError", "EtcdOptions", "EtcdTls", "WatchStream"]

CONNECT_SECONDS = 1.0
"""How long one endpoint may take to connect before the next one is tried."""

# Without it a member that has lost its quorum keeps calls and streams waiting in silence.
HAS_LEADER = ("hasleader", "true")

TOO_LARGE = ("request is too large", "too many operations", "grpc: received message larger than max")
LOGIN_AGAIN = ("invalid auth token", "user name is empty", "auth store is old")

log = structlog.get_logger(__name__)


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


class EtcdForeign(EtcdError, StoreRolledBack):
    """The endpoint belongs to another cluster than the one that this process met first."""


class WatchStream:
    """One watch call: requests out, responses in. One task may send while another receives.

    Args:
        call: The call.
        member: Where it leads.
        fail: Makes the error to raise out of the call's own.
    """

    def __init__(self, call: Any, member: Member, fail: Callable[[Member, grpc.aio.AioRpcError], EtcdError]) -> None:
        self._call = call
        self._fail = fail
        self.member = member

    async def send(self, request: Any) -> None:
        """Send a request.

        Raises:
            EtcdError: The stream is broken.
        """
        try:
            await self._call.write(request)
        except grpc.aio.AioRpcError as error:
            raise self._fail(self.member, error) from error
        except asyncio.InvalidStateError as error:
            raise self._broken("it was closed") from error

    async def receive(self) -> Any:
        """Wait for the next response.

        Raises:
            EtcdError: The stream is broken.
        """
        try:
            response = await self._call.read()
        except grpc.aio.AioRpcError as error:
            raise self._fail(self.member, error) from error
        if response is grpc.aio.EOF:
            raise self._broken("etcd ended it")
        return response

    def _broken(self, reason: str) -> EtcdError:
        return EtcdError(grpc.StatusCode.UNAVAILABLE, f"the watch broke: {reason}", self.member.endpoint)


class EtcdChannel:
    """All that is asked of etcd goes through here.

    Args:
        options: Where and how.
        lineage: What is known of the cluster already.
    """

    def __init__(self, options: EtcdOptions, lineage: Lineage | None = None) -> None:
        self._options = options
        self.lineage = lineage or Lineage()
        self._members = [Member(endpoint, options.tls) for endpoint in options.endpoints]
        self._current = 0
        self._nothing = _nothing(Keys(options.prefix).probe)
        self._token: str | None = None
        self._login = asyncio.Lock()

    async def txn(self, request: Any) -> Any:
        """Send one transaction, once.

        Raises:
            EtcdError: It may or may not have been carried out, unless the error says otherwise.
        """
        return await self._call(lambda member: member.kv.Txn, request, self._options.call_seconds, in_order=True)

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
        seconds_left = self._options.call_seconds
        response = await self._call(lambda member: member.lease.LeaseGrant, request, seconds_left, in_order=True)
        return response.ID, response.TTL

    async def keep_alive(self, lease_id: int, seconds: float) -> int:
        """Renew a lease once. A stream for each time, so that a broken stream needs no care of its own.

        Returns:
            Seconds that the lease has from some moment after this call began; 0 where the lease is gone.
        """

        async def exchange(member: Member, timeout: float, metadata: Metadata) -> Any:
            requests = [rpc.LeaseKeepAliveRequest(ID=lease_id)]
            call = member.lease.LeaseKeepAlive(iter(requests), timeout=timeout, metadata=metadata)
            try:
                responses = [response async for response in call]
            finally:
                call.cancel()
            if not responses:
                raise EtcdError(grpc.StatusCode.UNAVAILABLE, "the stream ended without an answer", member.endpoint)
            return responses[0]

        member, response, _ = await self._exchange(exchange, seconds)
        self._believe(member, response.header)
        ttl: int = response.TTL
        return ttl

    async def revoke(self, lease_id: int) -> None:
        """End a lease; its keys go with it."""
        request = rpc.LeaseRevokeRequest(ID=lease_id)
        await self._call(lambda member: member.lease.LeaseRevoke, request, self._options.call_seconds)

    @asynccontextmanager
    async def watch(self) -> AsyncIterator[WatchStream]:
        """Open a watch stream at the current endpoint.

        Raises:
            EtcdError: There is none that answers.
        """

        async def exchange(member: Member, _timeout: float, metadata: Metadata) -> Any:
            return member.watch.Watch(metadata=metadata)

        member, call, _ = await self._exchange(exchange, self._options.call_seconds)
        try:
            yield WatchStream(call, member, self._failure)
        finally:
            call.cancel()

    def heard(self, stream: WatchStream, header: Any) -> None:
        """Take note of what a watch says of its cluster; it may be behind others.

        Raises:
            EtcdForeign: It is another cluster.
        """
        self._believe(stream.member, header)

    def give_up(self, stream: WatchStream, reason: str) -> EtcdError:
        """Leave an endpoint whose watch does not do what it must, and return the error to raise."""
        stream.member.is_recognised = False  # it may hang: it has to answer before anything is asked of it again
        self._leave(stream.member)
        return EtcdError(grpc.StatusCode.UNAVAILABLE, f"the watch broke: {reason}", stream.member.endpoint)

    def log_in_again(self) -> None:
        """Get a new token for the next request: etcd does not like this one, if it is the token that it dislikes."""
        self._token = None

    async def close(self) -> None:
        """Close every connection. Calls that are still under way are cancelled."""
        for member in self._members:
            await member.channel.close()

    async def _call(
        self, method: Callable[[Member], Any], request: Any, seconds: float, *, in_order: bool = False
    ) -> Any:
        """Send one request.

        Args:
            method: Which.
            request: What.
            seconds: Deadline.
            in_order: Whether it goes through the cluster's log, so that its answer can't be older than earlier ones.
        """

        async def exchange(member: Member, timeout: float, metadata: Metadata) -> Any:
            return await method(member)(request, timeout=timeout, metadata=metadata)

        member, response, seen = await self._exchange(exchange, seconds)
        self._believe(member, response.header, at_least=seen if in_order else 0)
        return response

    async def _exchange(
        self, exchange: Callable[[Member, float, Metadata], Any], seconds: float
    ) -> tuple[Member, Any, int]:
        """Do one exchange with the current endpoint; once more with a new token, if that was all that was wrong.

        Returns:
            The endpoint, what the exchange returned, and the highest revision seen before it.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        for may_log_in in (True, False):
            self.lineage.demand()
            member = await self._ready_member(deadline)
            token = await self._log_in(member, deadline)
            metadata = (HAS_LEADER,) if token is None else (HAS_LEADER, ("token", token))
            try:
                if not member.is_recognised:
                    await self._recognise(member, metadata, deadline)
                seen = self.lineage.revision
                return member, await exchange(member, max(0.0, deadline - loop.time()), metadata), seen
            except grpc.aio.AioRpcError as error:
                if may_log_in and token is not None and _wants_login(error):
                    self._forget(token)
                    continue
                raise self._failure(member, error) from error
        raise AssertionError

    async def _recognise(self, member: Member, metadata: Metadata, deadline: float) -> None:
        """Ask a new connection for nothing, in order, before it is asked for anything else."""
        loop = asyncio.get_running_loop()
        async with member.recognising:
            if self.lineage.revision and not member.is_recognised:
                seen = self.lineage.revision
                timeout = max(0.0, deadline - loop.time())
                response = await member.kv.Txn(self._nothing, timeout=timeout, metadata=metadata)
                self._believe(member, response.header, at_least=seen)
            member.is_recognised = True

    async def _ready_member(self, deadline: float) -> Member:
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

    async def _log_in(self, member: Member, deadline: float) -> str | None:
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

    def _failure(self, member: Member, error: grpc.aio.AioRpcError) -> EtcdError:
        code, details = error.code(), error.details() or ""
        if _wants_login(error):
            self.log_in_again()
        if code in ELSEWHERE:
            self._leave(member)
        return EtcdError(code, details, member.endpoint)

    def _leave(self, member: Member) -> None:
        """Make the next endpoint current, unless another call has done so already."""
        if len(self._members) > 1 and self._members[self._current] is member:
            self._current = (self._current + 1) % len(self._members)
            log.warning("etcd_endpoint_left", endpoint=member.endpoint, next=self._members[self._current].endpoint)

    def _believe(self, member: Member, header: Any, at_least: int = 0) -> None:
        """Refuse the answer of another cluster: its revisions and leases mean nothing here; or of an older state."""
        if not self.lineage.is_of(header.cluster_id):
            self._leave(member)
            raise EtcdForeign(grpc.StatusCode.UNAVAILABLE, "it belongs to another cluster", member.endpoint)
        self.lineage.saw(header.revision, at_least, member.endpoint)


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


def _wants_login(error: grpc.aio.AioRpcError) -> bool:
    """Tell whether etcd refused the token, so that the request was not looked at."""
    if error.code() is grpc.StatusCode.UNAUTHENTICATED:
        return True
    return error.code() is grpc.StatusCode.INVALID_ARGUMENT and any(
        reason in (error.details() or "") for reason in LOGIN_AGAIN
    )


def _nothing(key: bytes) -> Any:
    """Return a transaction that never does anything, and goes through the cluster's log all the same."""
    request = rpc.TxnRequest()
    request.compare.add(result=rpc.Compare.LESS, target=rpc.Compare.VERSION, key=key, version=0)
    request.success.add(request_put=rpc.PutRequest(key=key))
    return request
