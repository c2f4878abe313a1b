"""What one SEC asks of another: what only the process that owns a saga, or is to leave, can answer."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from sagaline.v1 import admin_service_pb2, admin_service_pb2_grpc
from sagaline_server.ownership.membership import Membership
from sagaline_server.runtime.requests import NotServing, RequestRefused
from sagaline_server.wire.times import duration

EXPLAIN_SECONDS = 5.0


class Peers:
    """The other SECs."""

    def __init__(self, membership: Membership, open_channel: Callable[[str], grpc.aio.Channel]) -> None:
        """Make it.

        Args:
            membership: Who lives, and where.
            open_channel: Opens a channel to another SEC.
        """
        self._membership = membership
        self._open_channel = open_channel

    async def explain(self, saga_id: str, owner: str) -> admin_service_pb2.ExplainSagaResponse:
        """Say why the nodes of a saga wait, by asking its owner; where that can't be had, say so."""
        address = self._membership.address_of(owner)
        if not address:
            lost = f"its owner, SEC {owner}, does not live any more: another SEC adopts the saga"
            return admin_service_pb2.ExplainSagaResponse(warnings=[lost])
        request = admin_service_pb2.ExplainSagaRequest(saga_id=saga_id)
        try:
            async with self._open_channel(address) as channel:
                stub = admin_service_pb2_grpc.AdminServiceStub(channel)
                told: admin_service_pb2.ExplainSagaResponse
                told = await stub.ExplainSaga(request, timeout=EXPLAIN_SECONDS)
                return told
        except grpc.aio.AioRpcError as error:
            silent = f"its owner, SEC {owner} at {address}, does not say why it waits ({error.code().name}): ask there"
            return admin_service_pb2.ExplainSagaResponse(warnings=[silent])

    async def drain(self, sec_id: str, timeout: float) -> None:
        """Make another SEC hand everything off and stop.

        Raises:
            RequestRefused: SEC_NOT_FOUND.
            NotServing: It can't be reached.
        """
        address = self._membership.address_of(sec_id)
        if not address:
            raise RequestRefused("SEC_NOT_FOUND", f"no SEC named {sec_id!r} lives")
        request = admin_service_pb2.DrainSecRequest(sec_id=sec_id, timeout=duration(timeout))
        try:
            async with self._open_channel(address) as channel:
                await admin_service_pb2_grpc.AdminServiceStub(channel).DrainSec(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise NotServing(f"SEC {sec_id} at {address} can't be reached: {error.code().name}") from error
