"""No more runs than there are slots, and what is more than a little too much is rejected."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(slots=2)
    expect(stream.window == 2, f"a window of 2, not {stream.window}")
    refs = [ref(node=f"n{number}") for number in range(4)]
    stream.invoke(*(invocation(of, "gate", {"name": "x"}) for of in refs))
    await kit.until("two running", lambda: kit.running() == 2)
    await kit.rejection(stream, refs[3], pb.REJECTION_REASON_NO_CAPACITY)
    await kit.never("a third running", lambda: kit.running() > 2)
    kit.open("x")
    for of in refs[:3]:
        await kit.until("an answer", lambda of=of: stream.results(of) or stream.rejections(of))  # type: ignore[misc]
    expect(stream.results(refs[0]) and stream.results(refs[1]), "results of the two that ran")
