"""An output that can't be converted is held for an operator."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "misfit", {}))
    failure = (await kit.result(stream, ref())).failure
    told = (failure.type, failure.source, failure.disposition)
    wanted = (
        "sagaline.OutputNotConvertible",
        failure_pb2.FAILURE_SOURCE_CONVERSION,
        failure_pb2.FAILURE_DISPOSITION_HOLD,
    )
    expect(told == wanted, f"{wanted}, not {told}")
