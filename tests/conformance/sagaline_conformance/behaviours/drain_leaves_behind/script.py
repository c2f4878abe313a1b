"""What does not end is left behind unreported, and the worker leaves."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(drain=0.2)
    stream.invoke(invocation(ref(), "stubborn", {"name": "never"}))
    await kit.started(ref())
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    stream.send(drained=True)
    await kit.until("that the worker leaves", lambda: stream.half_closed or not stream.is_open)
    expect(not stream.results(ref()) and not stream.rejections(ref()), "no answer for what still runs")
