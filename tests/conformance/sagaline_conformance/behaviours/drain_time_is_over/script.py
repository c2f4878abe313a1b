"""What still runs when the time is over is asked to stop, and reported."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(drain=0.3)
    stream.acking = True
    stream.invoke(invocation(ref(), "gate", {"name": "never"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    stream.send(drained=True)
    result = await kit.result(stream, ref())
    expect(result.failure.type == "sagaline.Cancelled", f"sagaline.Cancelled, not {result}")
    await kit.until("that the worker closes its half", lambda: stream.half_closed)
    stream.end(grpc.StatusCode.OK)
    await kit.exited(kit.programs[0])
