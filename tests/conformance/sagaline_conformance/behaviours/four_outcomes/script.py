"""What user code says is what the SEC is told, and nothing is rounded."""

from __future__ import annotations

from sagaline.v1 import failure_pb2
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    said = {"type": "Declined", "message": "no money"}
    stream.invoke(
        invocation(ref(node="fail"), "fail", said),
        invocation(ref(node="retry"), "retry", {**said, "delay_ms": 1500}),
        invocation(ref(node="soon"), "retry", {**said, "delay_ms": 0}),
        invocation(ref(node="hold"), "hold", said),
        invocation(ref(node="crash"), "crash", {"message": "boom"}),
        invocation(ref(node="undo", kind=UNDO), "crash_undo"),
    )
    dispositions = {
        "fail": failure_pb2.FAILURE_DISPOSITION_FAIL,
        "retry": failure_pb2.FAILURE_DISPOSITION_RETRY,
        "soon": failure_pb2.FAILURE_DISPOSITION_RETRY,
        "hold": failure_pb2.FAILURE_DISPOSITION_HOLD,
    }
    for node, disposition in dispositions.items():
        failure = (await kit.result(stream, ref(node=node))).failure
        told = (failure.type, failure.message, failure.disposition, failure.source)
        wanted = ("Declined", "no money", disposition, failure_pb2.FAILURE_SOURCE_APPLICATION)
        expect(told == wanted, f"{wanted}, not {told}")
        delay = failure.next_retry_delay.ToMilliseconds()
        expect(delay == (1500 if node == "retry" else 0), f"the delay of {node}, not {delay} ms")
    for of in (ref(node="crash"), ref(node="undo", kind=UNDO)):
        failure = (await kit.result(stream, of)).failure
        expect(failure.disposition == failure_pb2.FAILURE_DISPOSITION_RETRY, f"RETRY, not {failure}")
        expect(failure.type and not failure.type.startswith("sagaline."), f"the error's own type, not {failure.type!r}")
    expect("boom" in (await kit.result(stream, ref(node="crash"))).failure.message, "the error's message")
