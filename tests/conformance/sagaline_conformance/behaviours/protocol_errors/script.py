"""A stream that can't be trusted is ended, and another one opened."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    invocation,
    ref,
)


async def script(kit: Kit) -> None:
    first = await kit.session()
    first.say(pb.ConnectResponse(sequence=7))
    second = await kit.stream(first.sec, 2)
    second.welcome()
    second.welcome()
    third = await kit.stream(first.sec, 3)
    third.send()
    fourth = await kit.stream(first.sec, 4)
    fourth.welcome(protocol_version=9)
    fifth = await kit.stream(first.sec, 5)
    fifth.welcome()
    fifth.invoke(invocation(ref()))
    await kit.result(fifth, ref())
