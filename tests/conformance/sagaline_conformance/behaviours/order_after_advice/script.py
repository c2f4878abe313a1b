"""An order interrupts what advice did not touch."""

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
    stream.invoke(invocation(ref(), "gate", {"name": "never"}))
    await kit.started(ref())
    stream.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_SAGA_UNWINDING)])
    stream.send(cancellations=[cancellation(ref(), 99)])
    await kit.never("an end on advice", lambda: stream.results(ref()))
    stream.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_NOT_FOUND)])
    failure = (await kit.result(stream, ref())).failure
    expect(failure.type == "sagaline.Cancelled", f"sagaline.Cancelled, not {failure}")
