"""Progress is told while user code runs, and given to the next attempt."""

from __future__ import annotations

import json

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    payload,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "progress", {"name": "x"}))
    told = await kit.until("progress", lambda: stream.progress(ref()))
    expect(json.loads(told[0].details.json) == {"at": 1}, f'{{"at": 1}}, not {told[0]}')
    kit.open("x")
    expect(output(await kit.result(stream, ref())) == {"last": None}, "no earlier progress")
    stream.invoke(invocation(ref(attempt=2), "progress", {"name": "x"}, last_progress=payload({"at": 1})))
    expect(output(await kit.result(stream, ref(attempt=2))) == {"last": {"at": 1}}, "the earlier progress")
