"""Fields and frames that the worker does not know are passed over, and count."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=30.0)
    unknown = b"\xfa\x7f\x03abc"  # field 2047, bytes
    stream.say(pb.ConnectResponse.FromString(unknown))
    mixed = pb.ConnectResponse(invocations=[invocation(ref())])
    mixed.MergeFromString(unknown)
    mixed.invocations[0].MergeFromString(unknown)
    stream.say(mixed)
    await kit.result(stream, ref())
    await kit.until("the receipt of both", lambda: stream.acked >= 3)
