"""What waits for a slot is handed back when the worker leaves."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
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
    stream.send(reconcile=pb.Reconcile(refs=[waiting]))
    await kit.until("a report, or a rejection", lambda: stream.reported(waiting) or stream.rejections(waiting))
    kit.programs[0].terminate()
    rejections = await kit.until("a rejection", lambda: stream.rejections(waiting))
    allowed = (pb.REJECTION_REASON_DRAINING, pb.REJECTION_REASON_NO_CAPACITY)
    expect(rejections[0].reason in allowed, "DRAINING (or NO_CAPACITY, if it was not held)")
    await kit.never("its start", lambda: kit.starts(waiting), 0.3)
