"""The SECs are learnt on the stream, and each is dialled at its address."""

from __future__ import annotations

from sagaline_conformance.kit import Kit, sec_set
from sagaline_conformance.messages import (
    expect,
)


async def script(kit: Kit) -> None:
    a, b, c = await kit.sec("a"), await kit.sec("b"), await kit.sec("c")
    await kit.start(a)
    stream = await kit.stream(a)
    stream.welcome(secs=sec_set(5, a, b))
    second = await kit.stream(b)
    expect(second.hello.worker_id == stream.hello.worker_id, "the same worker id")
    expect(second.hello.stream_epoch > stream.hello.stream_epoch, "a higher stream epoch")
    second.welcome(secs=sec_set(5, a, b))
    second.send(secs=sec_set(4, a, b, c))
    await kit.never("a stream to c, for the set is old", lambda: c.streams)
    second.send(secs=sec_set(6, a, b, c))
    await kit.stream(c)
    await kit.never("a second stream to a SEC", lambda: len(a.streams) + len(b.streams) + len(c.streams) > 3)
