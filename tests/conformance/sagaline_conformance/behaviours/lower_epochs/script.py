"""An invocation of a lower epoch than the saga's highest is refused, whatever its node."""

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
    stream.invoke(invocation(ref(node="a"), epoch=5))
    await kit.result(stream, ref(node="a"))
    stream.invoke(
        invocation(ref(node="b"), epoch=4), invocation(ref(node="c"), epoch=5), invocation(ref("s2", "b"), epoch=1)
    )
    await kit.rejection(stream, ref(node="b"), pb.REJECTION_REASON_STALE_EPOCH)
    await kit.result(stream, ref(node="c"))
    await kit.result(stream, ref("s2", "b"))
    expect(not kit.starts(ref(node="b")), "no start of what was refused")
