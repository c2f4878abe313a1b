"""Of several addresses one that answers is enough."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.sec("a", listening=False), await kit.sec("b")
    await kit.start(a, b)
    stream = await kit.stream(b)
    stream.welcome()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
