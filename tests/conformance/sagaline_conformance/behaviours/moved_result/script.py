"""A result that the old owner did not acknowledge is sent to the new one."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref()), invocation(ref("s2")))
    await kit.result(a, ref())
    await kit.result(a, ref("s2"))
    a.send(saga_moves=[pb.SagaMoved(saga_id="s1", owner=b.sec.named(), epoch=2)])
    await kit.result(b, ref())
    await kit.never("the other saga's result at b", lambda: b.results(ref("s2")))
