"""Which reason is given where several hold, while the worker drains."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)

NOBODY = "nobody-serves-this"


async def script(kit: Kit) -> None:
    stream = await kit.session()
    held = ref(attempt=3)
    stream.invoke(invocation(held, "gate", {"name": "x"}, epoch=5))
    await kit.started(held)
    kit.programs[0].terminate()
    await kit.until("drain", lambda: stream.drains)
    earlier, later = ref(attempt=2), ref(attempt=4)
    lower, unknown, both, late = ref(node="b"), ref(node="c"), ref(node="d"), ref(node="e")
    stream.invoke(
        invocation(earlier, "gate", {"name": "x"}, epoch=5),
        invocation(lower, epoch=4),
        invocation(unknown, NOBODY, {}, epoch=5),
        invocation(both, NOBODY, {}, epoch=4),
        invocation(late, epoch=5),
    )
    await kit.rejection(stream, earlier, pb.REJECTION_REASON_DRAINING)
    await kit.rejection(stream, lower, pb.REJECTION_REASON_STALE_EPOCH)
    await kit.rejection(stream, unknown, pb.REJECTION_REASON_UNKNOWN_ACTION)
    await kit.rejection(stream, both, pb.REJECTION_REASON_STALE_EPOCH)
    await kit.rejection(stream, late, pb.REJECTION_REASON_DRAINING)
    stream.invoke(invocation(later, "gate", {"name": "x"}, epoch=5))
    await kit.rejection(stream, later, pb.REJECTION_REASON_DRAINING)
    kit.open("x")
    expect(output(await kit.result(stream, held)) == "x", "what was held to end as if nothing had come")
