"""An input that does not fit its type does not reach user code."""

from __future__ import annotations

from sagaline.v1 import failure_pb2, payload_pb2
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    fits, wrong, broken = ref(node="fits"), ref(node="wrong"), ref(node="broken")
    stream.invoke(
        invocation(fits, "typed", {"order": {"id": "a", "count": 3}}),
        invocation(wrong, "typed", {"order": {"id": "a", "count": "three"}}),
        invocation(broken, "typed", {"order": payload_pb2.Payload(json="{not json")}),
    )
    expect(output(await kit.result(stream, fits)) == 3, "3 of what fits")
    for of in (wrong, broken):
        failure = (await kit.result(stream, of)).failure
        told = (failure.type, failure.source, failure.disposition)
        wanted = (
            "sagaline.InputNotConvertible",
            failure_pb2.FAILURE_SOURCE_CONVERSION,
            failure_pb2.FAILURE_DISPOSITION_HOLD,
        )
        expect(told == wanted, f"{wanted}, not {told}")
        expect(not kit.starts(of), "that user code did not run")
