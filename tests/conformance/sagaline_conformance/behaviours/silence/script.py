"""A stream on which nothing comes is given up, and opened anew."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=0.6)
    stream.echoing = False
    second = await kit.stream(stream.sec, 2)
    second.welcome()
    second.invoke(invocation(ref()))
    await kit.result(second, ref())
