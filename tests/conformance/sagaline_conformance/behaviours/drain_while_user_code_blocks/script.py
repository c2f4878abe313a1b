"""SIGTERM while user code blocks: the worker leaves all the same, at the latest when user code has ended."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=300.0, drain=300.0)
    stream.invoke(invocation(ref(), "block", {"name": "x"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    before = len(stream.nonces)
    await kit.until("heartbeats after the signal", lambda: len(stream.nonces) >= before + 3)
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == "x", "what ran to end")
    stream.acknowledge(ref())
    await kit.until("drain", lambda: stream.drains)
    stream.send(drained=True)
    await kit.until("that the worker closes its half", lambda: stream.half_closed)
    stream.end(grpc.StatusCode.OK)
    code = await kit.exited(kit.programs[0])
    expect(code == 0, f"exit code 0, not {code}")
