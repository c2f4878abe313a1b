"""No invocation leaves a SEC before its start is durable, and it leaves for the worker that the log names."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from tests.simulation.checkers.checker import Checker
from tests.simulation.processes import Process


class WriteAhead(Checker):
    name = "write-ahead"

    def frame_left(self, sec: Process, worker: Process, frame: pb.ConnectResponse) -> None:
        for invocation in frame.invocations:
            ref = Ref.of(invocation.ref)
            page = self.ledger.pages.get(ref.saga_id)
            meant = None if page is None else page.started.get(ref)
            if meant is None:
                self.fail(f"{sec.name} sends {ref}, and its start is not durable")
            elif meant != worker.name.replace("#", "-"):
                self.fail(f"{sec.name} sends {ref} to {worker.name}, and the log says {meant}")
