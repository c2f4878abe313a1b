"""An attempt whose time is over is asked to stop without a word of the SEC."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
    seconds,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "gate", {"name": "never"}, start_to_close=seconds(0.3)))
    failure = (await kit.result(stream, ref())).failure
    told = (failure.type, failure.source, failure.disposition)
    wanted = (
        "sagaline.StartToCloseTimeout",
        failure_pb2.FAILURE_SOURCE_TIMEOUT,
        failure_pb2.FAILURE_DISPOSITION_RETRY,
    )
    expect(told == wanted, f"{wanted}, not {told}")
