"""No result is acknowledged before what follows from it is durable, and none is forgotten that is still wanted."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from tests.simulation.checkers.checker import Checker
from tests.simulation.processes import Process

RECORDED = (pb.RESULT_STATUS_RECORDED, pb.RESULT_STATUS_DUPLICATE)


class Acknowledgements(Checker):
    name = "acknowledgements"

    def frame_left(self, sec: Process, worker: Process, frame: pb.ConnectResponse) -> None:
        for ack in frame.result_acks:
            self._check(sec.name, worker.name, ack)

    def acked(self, sec_id: str, ack: pb.ResultAck) -> None:
        self._check(sec_id, "a courier", ack)

    def _check(self, sec: str, receiver: str, ack: pb.ResultAck) -> None:
        ref = Ref.of(ack.ref)
        page = self.ledger.pages.get(ref.saga_id)
        run = None if page is None else page.run(ref)
        open_ = run is not None and (ref.attempt == run.in_flight or ref.attempt in run.unanswered)
        if ack.status in RECORDED:
            known = run is not None and ref.attempt <= run.attempt
            self.check(known and not open_, f"{sec} says that {ref} is recorded, and no entry says so")
        elif ack.status == pb.RESULT_STATUS_NOT_FOUND and page is not None:
            self.check(
                not open_ or page.saga.finished is not None,
                f"{sec} tells {receiver} to forget {ref}, which its saga still waits for",
            )
