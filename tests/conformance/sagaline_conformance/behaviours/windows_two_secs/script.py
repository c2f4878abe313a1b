"""Two SECs together are never granted more than the slots."""

from __future__ import annotations

import grpc

from sagaline_conformance.kit import Kit


async def script(kit: Kit) -> None:
    a, b = await kit.two_sessions(slots=6)
    await kit.until("both to have a window", lambda: a.window > 0 and b.window > 0)
    await kit.until("six in all", lambda: a.window + b.window == 6)
    await kit.never("more than six in all", lambda: a.window + b.window > 6, 1.0)
    b.sec.refuse_with = grpc.StatusCode.UNAVAILABLE
    b.end()
    await kit.until("all six slots at the SEC that is left", lambda: a.window == 6)
