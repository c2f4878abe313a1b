"""A worker that leaves does not wait for the echo that confirms a rejection."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=300.0)
    stream.echoing = False
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    stream.invoke(invocation(ref()))
    await kit.rejection(stream, ref(), pb.REJECTION_REASON_DRAINING)
    stream.send(drained=True)
    await kit.until("that the worker closes its half", lambda: stream.half_closed)
    stream.end(grpc.StatusCode.OK)
    code = await kit.exited(kit.programs[0])
    expect(code == 0, f"exit code 0, not {code}")
