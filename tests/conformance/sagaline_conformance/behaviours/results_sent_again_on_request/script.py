"""RETRY keeps a result and has it sent again after the delay."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ack,
    invocation,
    ref,
    seconds,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref()))
    await kit.result(stream, ref())
    stream.send(result_acks=[ack(ref(), pb.RESULT_STATUS_RETRY, retry_delay=seconds(0.3))])
    await kit.result(stream, ref(), 2)
    stream.send(result_acks=[ack(ref(), pb.RESULT_STATUS_RETRY)])
    await kit.never("a third time within half a second", lambda: len(stream.results(ref())) > 2)
    await kit.result(stream, ref(), 3)
    stream.acknowledge(ref())
    await kit.never("a fourth time", lambda: len(stream.results(ref())) > 3, 1.5)
