"""A later attempt stops the earlier one and waits until it has ended."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    second = ref(attempt=2)
    stream.invoke(invocation(ref(), "gate", {"name": "x"}))
    await kit.started(ref())
    stream.invoke(invocation(second, "gate", {"name": "y"}))
    result = await kit.result(stream, ref())
    expect(result.failure.type == "sagaline.Cancelled", f"sagaline.Cancelled, not {result}")
    await kit.started(second)
    kit.open("y")
    expect(output(await kit.result(stream, second)) == "y", "the later attempt's output")
