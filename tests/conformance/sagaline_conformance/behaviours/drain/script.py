"""A worker that leaves hands back, finishes, waits for acknowledgements, and then closes."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    await kit.until("a window of 0", lambda: stream.window == 0)
    stream.invoke(invocation(ref(node="late")))
    await kit.rejection(stream, ref(node="late"), pb.REJECTION_REASON_DRAINING)
    stream.send(drained=True)
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == "x", "what ran to end")
    await kit.never("an end before the acknowledgement", lambda: stream.half_closed)
    stream.acknowledge(ref())
    await kit.until("that the worker closes its half", lambda: stream.half_closed)
    stream.end(grpc.StatusCode.OK)
    code = await kit.exited(kit.programs[0])
    expect(code == 0, f"exit code 0, not {code}")
