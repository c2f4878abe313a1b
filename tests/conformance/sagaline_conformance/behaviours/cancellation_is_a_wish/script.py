"""User code that goes on is answered with what it ends with."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    cancellation,
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "stubborn", {"name": "x"}))
    await kit.started(ref())
    stream.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_SUPERSEDED)])
    await kit.never("an answer before its end", lambda: stream.results(ref()) or stream.rejections(ref()))
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == "x", "its output")
