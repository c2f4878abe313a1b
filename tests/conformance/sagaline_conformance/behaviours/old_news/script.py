"""A move or an adoption of a lower epoch changes nothing."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    RUNNING,
    adoption,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref(), "gate", {"name": "x"}, epoch=5))
    await kit.started(ref())
    b.send(adoptions=[adoption(4, ref())], saga_moves=[pb.SagaMoved(saga_id="s1", owner=b.sec.named(), epoch=4)])
    await kit.until("the report", lambda: RUNNING in b.reported(ref()))
    kit.open("x")
    await kit.result(a, ref())
    expect(not b.results(ref()), "no result to who lost the saga")
