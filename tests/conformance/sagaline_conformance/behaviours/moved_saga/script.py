"""What runs when its saga moves goes on, and its result goes to the new owner."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    a.send(saga_moves=[pb.SagaMoved(saga_id="s1", owner=b.sec.named(), epoch=2)])
    await kit.never("a result, for it runs", lambda: a.results(ref()) or b.results(ref()), 0.3)
    kit.open("x")
    expect(output(await kit.result(b, ref())) == "x", "its output")
    b.acknowledge(ref())
    a.invoke(invocation(ref(node="late"), epoch=1))
    await kit.rejection(a, ref(node="late"), pb.REJECTION_REASON_STALE_EPOCH)
    expect(not a.results(ref()), "no result to the old owner")
