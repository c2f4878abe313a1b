"""An earlier attempt, or the action after its undo, is refused while the later one is held."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(attempt=3), "gate", {"name": "x"}))
    stream.invoke(invocation(ref("s2", kind=UNDO), "gate"))
    await kit.started(ref(attempt=3))
    await kit.started(ref("s2", kind=UNDO))
    stream.invoke(invocation(ref(attempt=2), "gate", {"name": "x"}), invocation(ref("s2"), "gate", {"name": "x"}))
    await kit.rejection(stream, ref(attempt=2), pb.REJECTION_REASON_STALE_EPOCH)
    await kit.rejection(stream, ref("s2"), pb.REJECTION_REASON_STALE_EPOCH)
