"""A later attempt does not run when the earlier one of the same side succeeded."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
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
    stream.invoke(invocation(ref(), "stubborn", {"name": "x"}))
    await kit.started(ref())
    stream.invoke(invocation(second, "stubborn", {"name": "x"}))
    await kit.never("a start of the later attempt", lambda: kit.starts(second), 0.3)
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == "x", "the earlier attempt's output")
    await kit.rejection(stream, second, pb.REJECTION_REASON_NO_CAPACITY)
    expect(not kit.starts(second), "no start of the later attempt")
