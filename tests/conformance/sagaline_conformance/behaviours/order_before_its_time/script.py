"""An order whose reason is a timeout, long before start_to_close is over."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    cancellation,
    expect,
    invocation,
    ref,
    seconds,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "gate", {"name": "never"}, start_to_close=seconds(3600)))
    await kit.started(ref())
    stream.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_TIMED_OUT)])
    failure = (await kit.result(stream, ref())).failure
    told = (failure.type, failure.source, failure.disposition)
    wanted = ("sagaline.Cancelled", failure_pb2.FAILURE_SOURCE_CANCELLED, failure_pb2.FAILURE_DISPOSITION_RETRY)
    expect(told == wanted, f"{wanted}, not {told}")
