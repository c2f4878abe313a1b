"""What waits for a slot and is cancelled is rejected and never runs."""

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
    stream = await kit.session(slots=1)
    waiting = ref(node="waiting")
    stream.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    stream.invoke(invocation(waiting))
    stream.send(cancellations=[cancellation(waiting, pb.CANCELLATION_REASON_SUPERSEDED)])
    rejections = await kit.until("a rejection", lambda: stream.rejections(waiting))
    allowed = (pb.REJECTION_REASON_CANCELLED, pb.REJECTION_REASON_NO_CAPACITY)
    expect(rejections[0].reason in allowed, "CANCELLED (or NO_CAPACITY, if it was not held)")
    kit.open("x")
    await kit.result(stream, ref())
    await kit.never("its start", lambda: kit.starts(waiting), 0.3)
