"""Protobuf messages go as bytes of encoding binary/protobuf."""

from __future__ import annotations

from sagaline.v1 import payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    data = pb.Sec(sec_id="s", address="h:1", draining=False).SerializeToString()
    given = payload_pb2.Payload(data=data, encoding="binary/protobuf", metadata={"message_type": "sagaline.v1.Sec"})
    stream.invoke(invocation(ref(), "flip", {"sec": given}))
    got = (await kit.result(stream, ref())).output
    expect(got.encoding == "binary/protobuf", f"binary/protobuf, not {got}")
    expect(got.metadata["message_type"] == "sagaline.v1.Sec", "the message type")
    expect(pb.Sec.FromString(got.data) == pb.Sec(sec_id="s", address="h:1", draining=True), "the message, flipped")
