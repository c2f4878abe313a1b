"""A cancellation of what is not held is answered with NOT_HELD."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    NOT_HELD,
    cancellation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.send(cancellations=[cancellation(ref(), pb.CANCELLATION_REASON_TIMED_OUT)])
    await kit.until("NOT_HELD", lambda: stream.reported(ref()) == [NOT_HELD])
