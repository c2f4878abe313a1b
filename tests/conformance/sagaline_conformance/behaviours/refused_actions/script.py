"""A refused action is told to the worker's user, and the session goes on."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(refused_actions={"misfit": "refused-by-the-script"})
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
    await kit.until("the refused action in the output", lambda: "misfit" in kit.programs[0].output())
    await kit.until("its reason in the output", lambda: "refused-by-the-script" in kit.programs[0].output())
