"""Reads what a refused call tells, as a client would: through grpcio-status."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

if TYPE_CHECKING:
    from tests.unit.api.conftest import Served

DETAILS = {
    kind.DESCRIPTOR.full_name: kind
    for kind in (
        error_details_pb2.BadRequest,
        error_details_pb2.ErrorInfo,
        error_details_pb2.PreconditionFailure,
        error_details_pb2.ResourceInfo,
        error_details_pb2.RetryInfo,
    )
}


@dataclass
class Told:
    """What a client hears of a refused call."""

    code: grpc.StatusCode
    message: str
    reason: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    fields: list[tuple[str, str]] = field(default_factory=list)
    """Field and reason of each problem."""
    descriptions: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    """The details by the names of their types."""
    trailer_bytes: int = 0


async def raw_call(served: Served, path: str, request: bytes) -> bytes:
    """Call a unary method with bytes that need not be its request; returns the bytes that answer."""
    channel: Any = served.channel
    response: bytes = await channel.unary_unary(path)(request)
    return response


async def refused(call: Awaitable[object]) -> Told:
    """Await a call that must be refused, and return what it tells."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return told(caught.value)


def told(error: grpc.aio.AioRpcError) -> Told:
    """Return what an error tells."""
    found = Told(error.code(), error.details() or "")
    found.trailer_bytes = sum(len(key) + len(value) for key, value in error.trailing_metadata())
    status = rpc_status.from_call(error)
    if status is None:
        return found
    for packed in status.details:
        detail = DETAILS[packed.type_url.removeprefix("type.googleapis.com/")]()
        assert packed.Unpack(detail)
        found.details[detail.DESCRIPTOR.name] = detail
    info = found.details["ErrorInfo"]
    assert info.domain == "sagaline.dev"
    found.reason, found.metadata = info.reason, dict(info.metadata)
    if "BadRequest" in found.details:
        violations = found.details["BadRequest"].field_violations
        found.fields = [(each.field, each.reason) for each in violations]
        found.descriptions = [each.description for each in violations]
    return found
