"""A reconcile is answered: with everything, or with what was asked about."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    NOT_HELD,
    PENDING,
    RUNNING,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "gate", {"name": "x"}), invocation(ref(node="done")))
    await kit.started(ref())
    await kit.result(stream, ref(node="done"))
    stream.send(reconcile=pb.Reconcile())
    await kit.until("a complete report", lambda: [report for report in stream.reports() if report.complete])
    expect(stream.reported(ref()) == [RUNNING], "the one as RUNNING")
    expect(stream.reported(ref(node="done")) == [PENDING], "the other as RESULT_PENDING")
    stream.send(reconcile=pb.Reconcile(refs=[ref(), ref(node="never")]))
    await kit.until("NOT_HELD", lambda: stream.reported(ref(node="never")) == [NOT_HELD])
    await kit.until("RUNNING again", lambda: stream.reported(ref()) == [RUNNING, RUNNING])
