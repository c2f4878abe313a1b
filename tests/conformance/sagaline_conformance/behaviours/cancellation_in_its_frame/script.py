"""A cancellation may share a frame with its invocation."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    cancellation,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.send(
        invocations=[invocation(ref(), "gate", {"name": "never"})],
        cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_TIMED_OUT)],
    )
    await kit.until("an answer", lambda: stream.results(ref()) or stream.rejections(ref()))
    if stream.results(ref()):
        expect(stream.results(ref())[0].failure.type == "sagaline.Cancelled", "sagaline.Cancelled")
    else:
        expect(not kit.starts(ref()), "no start of what was rejected")
