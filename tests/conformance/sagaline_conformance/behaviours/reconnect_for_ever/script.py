"""No status and no number of failures ends a worker."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    sec = await kit.sec()
    sec.refuse_with = grpc.StatusCode.UNAVAILABLE
    await kit.start(sec)
    statuses = [
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    ]
    for number, status in enumerate(statuses, 1):
        await kit.until(f"try {number}", lambda number=number: len(sec.refused) >= number)  # type: ignore[misc]
        sec.refuse_with = status
    await kit.never("a flood of tries", lambda: len(sec.refused) > 40, 1.0)
    sec.refuse_with = None
    stream = await kit.stream(sec)
    stream.welcome()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
