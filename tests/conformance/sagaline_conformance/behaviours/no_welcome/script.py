"""A stream on which no welcome comes is given up after 10 s."""

from __future__ import annotations

from sagaline_conformance.kit import Kit


async def script(kit: Kit) -> None:
    sec = await kit.sec()
    await kit.start(sec)
    first = await kit.stream(sec)
    await kit.never("an end in the first 5 s", lambda: not first.is_open, 5.0)
    second = await kit.until("a second stream", lambda: sec.streams[1:])
    second[0].welcome()
