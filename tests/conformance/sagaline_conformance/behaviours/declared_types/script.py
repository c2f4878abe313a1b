"""The hello says which versions, sides and types are served."""

from __future__ import annotations

from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    ACTION,
    UNDO,
    expect,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    served: dict[str, set[tuple[str, int]]] = {}
    for spec in stream.hello.actions:
        sides = list(spec.kinds) or [ACTION, UNDO]
        names = served.setdefault(spec.action, set())
        names |= {(version, side) for version in spec.versions or ["1"] for side in sides}
    expect(served["versioned"] == {("1", 1), ("1", 2), ("2", 1), ("2", 2)}, f"versions, not {served['versioned']}")
    expect(served["one_sided"] == {("1", 1)}, f"one_sided without an undo, not {served['one_sided']}")
    (flip,) = (spec for spec in stream.hello.actions if spec.action == "flip")
    expect(flip.input_types["sec"].message_name == "sagaline.v1.Sec", "the message name of the input of flip")
    expect(flip.output_type.message_name == "sagaline.v1.Sec", "the message name of the output of flip")
