"""A stream that breaks while the worker leaves is opened again, so that everything can be said."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    await kit.until("drain", lambda: first.drains)
    first.end()
    second = await kit.stream(first.sec, 2)
    second.welcome()
    await kit.until("drain on the new stream", lambda: second.drains)
    expect(second.window == 0, "a window of 0")
    kit.open("x")
    await kit.result(second, ref())
    second.send(drained=True, result_acks=[ack(ref())])
    await kit.until("that the worker closes its half", lambda: second.half_closed)
    second.end(grpc.StatusCode.OK)
    await kit.exited(kit.programs[0])
