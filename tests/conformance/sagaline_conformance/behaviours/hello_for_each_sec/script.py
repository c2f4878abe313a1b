"""A hello at a SEC's own address names what is held for that SEC."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    RUNNING,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions()
    a.invoke(invocation(ref(), "gate", {"name": "x"}))
    b.invoke(invocation(ref("s2"), "gate", {"name": "x"}))
    await kit.started(ref())
    await kit.started(ref("s2"))
    b.end()
    second = await kit.stream(b.sec, 2)
    expect(second.greeted_with(ref("s2")) == RUNNING, "what is held for b as RUNNING")
    expect(not second.greeted_with(ref()), "nothing of what is held for a")
