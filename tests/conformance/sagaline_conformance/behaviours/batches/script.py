"""Many invocations in one frame are each answered under their own name."""

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
    refs = [ref(node=f"n{number}") for number in range(8)]
    stream.invoke(*(invocation(of, inputs={"value": of.node}, epoch=4) for of in refs))
    for of in refs:
        result = await kit.result(stream, of)
        expect(output(result) == of.node, f"the value {of.node}")
        expect(result.epoch == 4, "the epoch of the invocation")
