"""What ends while there is no stream is told on the next."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    PENDING,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    await first.sec.stop()
    kit.open("x")
    await kit.until("its end", lambda: kit.running() == 0)
    await first.sec.start()
    second = await kit.stream(first.sec, 2)
    expect(second.greeted_with(ref()) == PENDING, "the attempt as RESULT_PENDING in the hello")
    second.welcome()
    await kit.result(second, ref())
