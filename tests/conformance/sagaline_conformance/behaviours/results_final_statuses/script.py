"""DUPLICATE, SUPERSEDED, NOT_FOUND and INVALID end a result as RECORDED does."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    statuses = [
        pb.RESULT_STATUS_DUPLICATE,
        pb.RESULT_STATUS_SUPERSEDED,
        pb.RESULT_STATUS_NOT_FOUND,
        pb.RESULT_STATUS_INVALID,
    ]
    refs = [ref(node=f"n{status}") for status in statuses]
    first.invoke(*map(invocation, refs))
    for of in refs:
        await kit.result(first, of)
    first.send(result_acks=[ack(of, status) for of, status in zip(refs, statuses, strict=True)])
    first.invoke(invocation(ref(node="last")))
    await kit.result(first, ref(node="last"))
    first.end()
    second = await kit.stream(first.sec, 2)
    named = [entry.ref.node for entry in second.hello.in_flight.entries]
    expect(named == ["last"], f"only the last attempt in the hello, not {named}")
