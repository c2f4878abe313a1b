"""An owner to which no stream is held is called with ReportResults."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    owner = await kit.sec("owner")
    stream.invoke(invocation(ref(), inputs={"value": "called"}))
    await kit.result(stream, ref())
    stream.send(result_acks=[ack(ref(), pb.RESULT_STATUS_NOT_OWNER, owner=owner.named())])
    calls = await kit.until("a call of ReportResults", lambda: owner.calls)
    expect(calls[0].worker_id == stream.hello.worker_id, "the worker id in the call")
    expect([output(result) for result in calls[0].results] == ["called"], "the result in the call")
    stream.end()
    second = await kit.stream(stream.sec, 2)
    expect(not second.hello.in_flight.entries, "nothing held after the call was answered")
