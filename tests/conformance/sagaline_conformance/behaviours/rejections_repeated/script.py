"""An attempt that was rejected and comes again is rejected again, and never runs."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.echoing = False
    stream.invoke(invocation(ref(), "nobody-serves-this", {}))
    await kit.rejection(stream, ref(), pb.REJECTION_REASON_UNKNOWN_ACTION)
    stream.invoke(invocation(ref(), "echo"))
    await kit.until("the rejection again", lambda: len(stream.rejections(ref())) == 2)
    expect(not kit.starts(ref()), "no start")
