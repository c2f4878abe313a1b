"""That the saga unwinds interrupts nothing; user code that asks may heed it."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    cancellation,
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    runs, heeds = ref(node="runs"), ref(node="heeds")
    stream.invoke(invocation(runs, "gate", {"name": "x"}), invocation(heeds, "heeding", {"name": "never"}))
    await kit.started(runs)
    await kit.started(heeds)
    advice = pb.CANCELLATION_REASON_SAGA_UNWINDING
    stream.send(cancellations=[cancellation(runs, advice), cancellation(heeds, advice)])
    failure = (await kit.result(stream, heeds)).failure
    expect(failure.type == "Heeded", f"Heeded, not {failure}")
    expect(failure.disposition == failure_pb2.FAILURE_DISPOSITION_FAIL, "FAIL, for it says so")
    await kit.never("an end of the other", lambda: stream.results(runs))
    kit.open("x")
    expect(output(await kit.result(stream, runs)) == "x", "its output")
