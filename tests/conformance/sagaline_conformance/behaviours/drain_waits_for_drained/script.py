"""A worker does not leave before the SEC has said that nothing more will come."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    await kit.never("an end", lambda: stream.half_closed or not stream.is_open, 0.7)
    stream.invoke(invocation(ref()))
    await kit.rejection(stream, ref(), pb.REJECTION_REASON_DRAINING)
    stream.send(drained=True)
    await kit.until("that the worker closes its half", lambda: stream.half_closed)
    stream.end(grpc.StatusCode.OK)
    await kit.exited(kit.programs[0])
