"""A result is kept until its acknowledgement, named in the hello, and sent again on a new stream."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    PENDING,
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.invoke(invocation(ref(), inputs={"value": "kept"}))
    await kit.result(first, ref())
    first.end()
    second = await kit.stream(first.sec, 2)
    expect(second.greeted_with(ref()) == PENDING, "the attempt as RESULT_PENDING in the hello")
    expect(second.hello.stream_epoch > first.hello.stream_epoch, "a higher stream epoch")
    expect(second.hello.worker_id == first.hello.worker_id, "the same worker id")
    second.welcome()
    expect(output(await kit.result(second, ref())) == "kept", "the same output")
    second.acknowledge(ref())
    second.invoke(invocation(ref(node="b")))
    await kit.result(second, ref(node="b"))
    second.acknowledge(ref(node="b"))
    second.end()
    third = await kit.stream(first.sec, 3)
    expect(not third.hello.in_flight.entries, "nothing in the hello after the acknowledgement")
