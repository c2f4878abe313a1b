"""A stream on which frames come but heartbeats are not echoed is given up."""

from __future__ import annotations

from sagaline_conformance.kit import Kit


async def script(kit: Kit) -> None:
    stream = await kit.session(interval=0.2, timeout=0.6)
    stream.echoing = False

    def talk() -> bool:
        if stream.is_open:
            stream.send()
        return len(stream.sec.streams) > 1

    await kit.until("a second stream", talk)
