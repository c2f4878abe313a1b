"""Failures are cut to their limits."""

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
    stream.invoke(invocation(ref(), "fail", {"type": "T" * 500, "message": "ä" * 5000}))
    failure = (await kit.result(stream, ref())).failure
    expect(failure.type == "T" * 128, f"a type of 128 bytes, not {len(failure.type)}")
    expect(failure.message == "ä" * 2048, f"a message of 4,096 bytes, not {len(failure.message.encode())}")
    expect(failure.disposition == failure_pb2.FAILURE_DISPOSITION_FAIL, "FAIL all the same")
