"""Frames are acknowledged cumulatively, with the next heartbeat at the latest."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=30.0)
    for _ in range(3):
        stream.send()
    await kit.until("the receipt of all frames", lambda: stream.acked >= 4)
    stream.invoke(invocation(ref(), "gate", {"name": "x"}))
    sent = stream.sequence
    await kit.until("the receipt of an invocation that still runs", lambda: stream.acked >= sent)
    kit.open("x")
    await kit.result(stream, ref())
