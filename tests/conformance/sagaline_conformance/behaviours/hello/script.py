"""The hello introduces the worker, comes first and alone, and claims nothing."""

from __future__ import annotations

import re

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    expect,
)


async def script(kit: Kit) -> None:
    stream = await kit.session(slots=7)
    hello = stream.hello
    expect(hello.protocol_version == 1, "protocol version 1")
    expect(re.fullmatch(r"[A-Za-z0-9._-]{1,64}", hello.worker_id), f"a worker id, not {hello.worker_id!r}")
    expect(hello.stream_epoch == 1, "stream epoch 1")
    expect(hello.sdk and hello.identity, "sdk and identity")
    expect(hello.build_id == "conformance", "the build id")
    expect(dict(hello.capacity.max_in_flight_by_pool) == {"": 7}, f"capacity 7, not {hello.capacity}")
    expect(hello.in_flight.complete and not hello.in_flight.entries, "an empty complete report")
    expect(pb.WORKER_CAPABILITY_SEVERAL_SECS in hello.capabilities, "the capability SEVERAL_SECS")
    names = {spec.action for spec in hello.actions}
    wanted = {
        "echo", "fail", "retry", "hold", "crash", "crash_undo", "gate", "stubborn", "heeding", "block", "big",
        "progress", "describe", "typed", "misfit", "flip", "versioned", "one_sided",
    }  # fmt: skip
    expect(wanted <= names, f"actions {sorted(wanted - names)} in the hello")
