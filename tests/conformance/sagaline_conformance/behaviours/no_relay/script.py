"""With one SEC within reach the search goes on there, ever more rarely, until the saga is over."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    nowhere = await kit.sec("nowhere", listening=False)
    stream.invoke(invocation(ref()))
    for count in (1, 2, 3):
        await kit.result(stream, ref(), count)
        stream.send(result_acks=[ack(ref(), pb.RESULT_STATUS_NOT_OWNER, owner=nowhere.named())])
    await kit.result(stream, ref(), 4)
    expect(len(stream.results(ref())) == 4, "one try at a time")
    stream.send(result_acks=[ack(ref(), pb.RESULT_STATUS_SUPERSEDED)])
    stream.invoke(invocation(ref(node="next")))
    await kit.result(stream, ref(node="next"))
    await kit.never("the result again", lambda: len(stream.results(ref())) > 4, 1.0)
