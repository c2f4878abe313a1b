"""A report that does not fit into a frame is told in parts, the last of which is complete."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    RUNNING,
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session(slots=300, max_frame_bytes=16384, max_payload_bytes=4096)
    refs = [ref("s" * 180 + str(number)) for number in range(150)]
    for begin in range(0, 150, 30):
        first.invoke(*(invocation(of, "gate", {"name": "x"}) for of in refs[begin : begin + 30]))
    await kit.until("all running", lambda: kit.running() == 150)
    first.send(reconcile=pb.Reconcile())
    await kit.until("the last part", lambda: [report for report in first.reports() if report.complete])
    reports = first.reports()
    expect(len(reports) > 1, "several parts, for one does not fit")
    expect([report.complete for report in reports] == [False] * (len(reports) - 1) + [True], "only the last complete")
    expect(all(RUNNING in first.reported(of) for of in refs), "every attempt")
    first.end()
    second = await kit.stream(first.sec, 2)
    second.welcome()
    parts = [second.hello.in_flight]
    await kit.until("the last part", lambda: any(report.complete for report in [*parts, *second.reports()]))
    named = {entry.ref.saga_id for report in [*parts, *second.reports()] for entry in report.entries}
    expect(named == {of.saga_id for of in refs}, "every attempt in the hello and what follows it")
