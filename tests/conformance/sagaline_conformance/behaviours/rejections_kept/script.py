"""A rejection is kept until the echo of a heartbeat proves that it was read."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    QUEUED,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session(interval=0.2, timeout=30.0)
    first.echoing = False
    first.invoke(invocation(ref(), "nobody-serves-this", {}))
    await kit.rejection(first, ref(), pb.REJECTION_REASON_UNKNOWN_ACTION)
    await kit.until("a heartbeat", lambda: first.nonces)
    first.end()
    second = await kit.stream(first.sec, 2)
    expect(second.greeted_with(ref()) == QUEUED, "the attempt as QUEUED in the hello")
    second.welcome(interval=0.2, timeout=30.0)
    await kit.rejection(second, ref(), pb.REJECTION_REASON_UNKNOWN_ACTION)
    heard = len(second.nonces)
    await kit.until("another heartbeat, whose echo confirms it", lambda: len(second.nonces) > heard)
    await kit.never("the rejection a second time", lambda: len(second.rejections(ref())) > 1, 0.3)
    second.end()
    third = await kit.stream(first.sec, 3)
    expect(not third.hello.in_flight.entries, "nothing in the hello once it was confirmed")
