"""Who is not the owner names it, and the result goes there."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref()))
    await kit.result(a, ref())
    a.send(result_acks=[ack(ref(), pb.RESULT_STATUS_NOT_OWNER, owner=b.sec.named())])
    await kit.result(b, ref())
    b.acknowledge(ref())
    await kit.never("the result again", lambda: len(a.results(ref())) + len(b.results(ref())) > 2)
