"""Of values that it does not know the worker takes the reading which loses nothing."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    PENDING,
    ack,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
    stream.send(result_acks=[ack(ref(), 99)])
    await kit.result(stream, ref(), 2)
    goodbye = pb.GoAway()
    goodbye.reason = 99  # type: ignore[assignment]
    stream.send(go_away=goodbye)
    stream.end(grpc.StatusCode.OK)
    second = await kit.stream(stream.sec, 2)
    expect(second.greeted_with(ref()) == PENDING, "the result still held")
