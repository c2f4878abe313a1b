"""The undo of a node waits until its action has really ended."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "stubborn", {"name": "x"}))
    await kit.started(ref())
    stream.invoke(invocation(ref(kind=UNDO), "stubborn"))
    await kit.never("a start of the undo action", lambda: kit.starts(ref(kind=UNDO)))
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == "x", "the action's output")
    await kit.result(stream, ref(kind=UNDO))
