"""Every attempt of one side of a node has the same inputs, and every undo the same account of its action."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import idempotency_key
from tests.simulation.checkers.checker import Checker
from tests.simulation.processes import Process
from tests.simulation.scene import Scene


class Inputs(Checker):
    name = "inputs"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[tuple[str, str, int], bytes] = {}

    def dispatched(self, sec: Process, invocation: pb.Invocation) -> None:
        ref = invocation.ref
        same = pb.Invocation(
            action=invocation.action,
            version=invocation.version,
            idempotency_key=invocation.idempotency_key,
            inputs=invocation.inputs,
        )
        if invocation.HasField("undo"):
            same.undo.CopyFrom(invocation.undo)
        sent = same.SerializeToString(deterministic=True)
        before = self._sent.setdefault((ref.saga_id, ref.node, ref.kind), sent)
        self.check(sent == before, f"{sec.name} sends other inputs than before with {ref}: {sent!r}, not {before!r}")
        key = idempotency_key(ref.saga_id, ref.node, Kind(ref.kind))
        self.check(invocation.idempotency_key == key, f"{ref} has the key {invocation.idempotency_key}")
