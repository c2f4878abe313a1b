"""The old owner's action is refused after the new owner's undo."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(kind=UNDO), epoch=2))
    await kit.result(stream, ref(kind=UNDO))
    stream.acknowledge(ref(kind=UNDO))
    stream.invoke(invocation(ref(), epoch=1))
    await kit.rejection(stream, ref(), pb.REJECTION_REASON_STALE_EPOCH)
    expect(not kit.starts(ref()), "no start")
