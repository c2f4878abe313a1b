"""Before the welcome the worker writes nothing but the hello."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    sec = await kit.sec()
    await kit.start(sec)
    stream = await kit.stream(sec)
    await kit.never("a second frame", lambda: len(stream.frames) > 1, 1.0)
    stream.welcome()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
