"""JSON values go through unchanged."""

from __future__ import annotations

import json

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    output,
    ref,
)


async def script(kit: Kit) -> None:
    values: list[object] = [
        None, True, False, 0, -1, 9007199254740991, 0.5, "", 'a\n"ü\u2028\U0001f600', [], [1, [2]], {},
        {"a": {"b": None}},
    ]  # fmt: skip
    stream = await kit.session(slots=20)
    refs = [ref(node=f"n{number}") for number in range(len(values))]
    stream.invoke(*(invocation(of, inputs={"value": value}) for of, value in zip(refs, values, strict=True)))
    for of, value in zip(refs, values, strict=True):
        got = output(await kit.result(stream, of))
        expect(json.dumps(got) == json.dumps(value), f"{value!r}, not {got!r}")
