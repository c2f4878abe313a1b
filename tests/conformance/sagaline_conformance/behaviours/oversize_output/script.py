"""An output that is too large is held for an operator."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(max_payload_bytes=1000)
    big, small = ref(node="big"), ref(node="small")
    stream.invoke(invocation(big, "big", {"bytes": 5000}), invocation(small, "big", {"bytes": 500}))
    failure = (await kit.result(stream, big)).failure
    told = (failure.type, failure.source, failure.disposition)
    wanted = (
        "sagaline.PayloadTooLarge",
        failure_pb2.FAILURE_SOURCE_CONVERSION,
        failure_pb2.FAILURE_DISPOSITION_HOLD,
    )
    expect(told == wanted, f"{wanted}, not {told}")
    expect("1000" in failure.message and "50" in failure.message, f"both sizes in {failure.message!r}")
    expect(output(await kit.result(stream, small)) == "x" * 500, "the small one")
