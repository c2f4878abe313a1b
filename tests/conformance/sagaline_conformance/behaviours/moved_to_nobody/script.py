"""A saga that left for nobody known waits for its adoption."""

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
    a.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    a.send(saga_moves=[pb.SagaMoved(saga_id="s1", epoch=2)])
    b.send(adoptions=[adoption(2, ref())])
    await kit.until("the report that it runs", lambda: RUNNING in b.reported(ref()))
    kit.open("x")
    result = await kit.result(b, ref())
    expect(result.epoch == 2, f"epoch 2 in the result, not {result.epoch}")
