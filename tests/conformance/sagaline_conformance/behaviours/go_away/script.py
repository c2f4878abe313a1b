"""A SEC that stops is left and dialled again."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    ref,
    seconds,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.invoke(invocation(ref()))
    await kit.result(first, ref())
    goodbye = pb.GoAway(reason=pb.GO_AWAY_REASON_SHUTDOWN, timeout=seconds(1.0))
    first.send(result_acks=[ack(ref())], go_away=goodbye)
    first.end(grpc.StatusCode.OK)
    second = await kit.stream(first.sec, 2)
    expect(not second.hello.in_flight.entries, "nothing held: the result was acknowledged")
