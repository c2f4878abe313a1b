"""An action, version or side that is not served is rejected."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(
        invocation(ref(node="a"), "nobody-serves-this", {}),
        invocation(ref(node="b"), "echo", version="9"),
        invocation(ref(node="c", kind=UNDO), "one_sided"),
        invocation(ref(node="d", kind=9), "echo"),
    )
    for of in (ref(node="a"), ref(node="b"), ref(node="c", kind=UNDO), ref(node="d", kind=9)):
        await kit.rejection(stream, of, pb.REJECTION_REASON_UNKNOWN_ACTION)
    expect(not kit.starts(), "no start at all")
