"""Slots go where work waits."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions(slots=8)
    await kit.until("an even split", lambda: (a.window, b.window) == (4, 4))
    b.send(demands=[pb.Demand(slot_pool="", ready_count=50)])
    await kit.until("most slots at b", lambda: b.window >= 6 and a.window + b.window <= 8)
    await kit.never("more than eight in all", lambda: a.window + b.window > 8, 0.5)
