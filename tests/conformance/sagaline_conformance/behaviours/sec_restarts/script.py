"""A SEC that stops and comes back is found again, and told what is held."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    RUNNING,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    await first.sec.stop()
    await kit.never("a stream to who does not listen", lambda: len(first.sec.streams) > 1, 1.0)
    await first.sec.start()
    second = await kit.stream(first.sec, 2)
    expect(second.greeted_with(ref()) == RUNNING, "what runs as RUNNING")
    second.welcome()
    kit.open("x")
    await kit.result(second, ref())
    expect(len(kit.starts(ref())) == 1, "one start")
