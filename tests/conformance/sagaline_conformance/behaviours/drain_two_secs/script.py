"""A worker that leaves says so on every stream."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    for stream in (a, b):
        await kit.until(f"drain on {stream.name}", lambda stream=stream: stream.drains)  # type: ignore[misc]
        stream.send(drained=True)
    kit.open("x")
    await kit.result(a, ref())
    a.acknowledge(ref())
    for stream in (a, b):
        await kit.until(f"the end of {stream.name}", lambda stream=stream: stream.half_closed)  # type: ignore[misc]
        stream.end(grpc.StatusCode.OK)
    code = await kit.exited(kit.programs[0])
    expect(code == 0, f"exit code 0, not {code}")
