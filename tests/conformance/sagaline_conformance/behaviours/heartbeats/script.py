"""Heartbeats go on, with nonces that grow, also while user code blocks."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=30.0)
    stream.invoke(invocation(ref(), "block", {"name": "x"}))
    await kit.started(ref())
    before = len(stream.nonces)
    await kit.until("five more heartbeats", lambda: len(stream.nonces) >= before + 5)
    expect(stream.is_open, "the stream to be open")
    kit.open("x")
    await kit.result(stream, ref())
