"""Only what has ended is compacted, and its end is kept: every SEC goes on telling of it."""

from __future__ import annotations

from sagaline.client.states import is_final
from sagaline.v1 import log_pb2, saga_pb2
from tests.simulation.checkers.checker import Checker
from tests.simulation.scene import Scene


class Retention(Checker):
    name = "retention"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._compacted: set[str] = set()

    def removed(self, saga_id: str) -> None:
        ended = self.ledger.pages[saga_id].saga.finished
        self.check(ended is not None, f"the log of {saga_id} was removed, and it has not ended")
        self._compacted.add(saga_id)
        self._check_end(saga_id)

    def viewed(self, sec_id: str, view: saga_pb2.Saga) -> None:
        if view.saga_id in self._compacted:
            page = self.ledger.pages[view.saga_id]
            ended = page.saga.finished
            if sec_id == page.owners[-1].sec_id and not is_final(view.state):
                return  # the owner shows what it knows to be durable; the answer to its last append is on its way
            self.check(
                int(view.state) == ended, f"{sec_id} shows {view.saga_id} as {view.state}, and it ended as {ended}"
            )

    def finish(self, *, complete: bool) -> None:
        for saga_id in self._compacted:
            self._check_end(saga_id)

    def _check_end(self, saga_id: str) -> None:
        stored = self.scene.backend_of(saga_id).read(saga_id)
        kept = None if stored is None or stored.done is None else log_pb2.DoneRecord.FromString(stored.done).saga.state
        self.check(
            kept is not None and int(kept) == self.ledger.pages[saga_id].saga.finished,
            f"of {saga_id} no end is kept that is its own",
        )
