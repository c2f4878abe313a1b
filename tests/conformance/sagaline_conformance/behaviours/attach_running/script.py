"""An attempt that runs and is sent again is not run again."""

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
    first.invoke(invocation(ref(), "gate", {"name": "x"}))
    first.end()
    second = await kit.stream(first.sec, 2)
    expect(second.greeted_with(ref()) == RUNNING, "the attempt as RUNNING in the hello")
    second.welcome()
    second.invoke(invocation(ref(), "gate", {"name": "x"}, epoch=3))
    await kit.never("a second start", lambda: len(kit.starts(ref())) > 1)
    kit.open("x")
    result = await kit.result(second, ref())
    expect(result.epoch == 3, f"epoch 3 in the result, not {result.epoch}")
    second.acknowledge(ref())
    await kit.never("another result", lambda: len(second.results(ref())) > 1)
