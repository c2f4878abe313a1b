"""The version that an invocation names is the one that runs."""

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
    stream.invoke(invocation(ref(node="a"), "versioned", {}, version="2"))
    stream.invoke(invocation(ref(node="b"), "versioned", {}, version="1"))
    expect(output(await kit.result(stream, ref(node="a"))) == "2", "version 2")
    expect(output(await kit.result(stream, ref(node="b"))) == "1", "version 1")
