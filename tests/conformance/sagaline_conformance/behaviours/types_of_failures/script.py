"""What an ordinary error is called."""

from __future__ import annotations

import re

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)

NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


async def script(kit: Kit) -> None:
    stream = await kit.session()
    stream.invoke(invocation(ref(), "crash", {"message": "boom"}))
    failure = (await kit.result(stream, ref())).failure
    expect(NAME.fullmatch(failure.type), f"a name as code writes it, not {failure.type!r}")
    expect(not failure.type.startswith("sagaline."), f"no name that is the SDK's, not {failure.type!r}")
