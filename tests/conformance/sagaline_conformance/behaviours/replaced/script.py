"""A worker whose id another process uses ends, and does not fight."""

from __future__ import annotations

import grpc

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.send(go_away=pb.GoAway(reason=pb.GO_AWAY_REASON_REPLACED))
    stream.end(grpc.StatusCode.OK)
    code = await kit.exited(kit.programs[0])
    expect(code != 0, "an exit code other than 0")
    expect(len(stream.sec.streams) == 1, "no further stream")
