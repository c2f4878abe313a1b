"""An undo of an action whose outcome is unknown is told so, and has no output."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    undo = ref(kind=UNDO)
    stream.invoke(invocation(undo, "describe"))
    await kit.result(stream, undo)
    told = kit.starts(undo)[0]["told"]["undo"]
    known = (told["succeeded"], told["output"], told["failure_type"])
    expect(known == (False, None, None), f"nothing known, not {told}")
