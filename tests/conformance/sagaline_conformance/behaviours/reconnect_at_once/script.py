"""After a stream that worked the next is opened at once."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    await kit.never("an end by itself", lambda: not stream.is_open, 1.3)
    stream.end(grpc.StatusCode.OK)
    second = await kit.until("the next stream", lambda: stream.sec.streams[1:])
    expect(second[0].hello.stream_epoch > stream.hello.stream_epoch, "a higher stream epoch")
