"""An item that makes no sense is passed over, and the stream goes on."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.send(
        invocations=[invocation(pb.InvocationRef()), invocation(ref())], result_acks=[ack(ref(node="never-sent"))]
    )
    await kit.result(stream, ref())
    expect(stream.is_open, "the stream to go on")
