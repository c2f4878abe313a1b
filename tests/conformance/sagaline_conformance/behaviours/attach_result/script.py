"""An attempt whose result waits is answered with that result again."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref(), 2)
    expect(len(kit.starts(ref())) == 1, "one start")
    expect(not stream.rejections(ref()), "no rejection")
