"""Only what has ended is compacted, and its end is kept: every SEC goes on telling of it until its time is over.

Where there is an archive, what is deleted is in it, whole.
"""

from __future__ import annotations

import gzip

from sagaline.client.states import is_final
from sagaline.v1 import log_pb2, saga_pb2
from tests.simulation.checkers.checker import Checker
from tests.simulation.clocks import WALL_START
from tests.simulation.keeping import REMOVE_SECONDS
from tests.simulation.options import ARCHIVED
from tests.simulation.scene import Scene

LEEWAY, OFFSET_SECONDS = 0.07, 4.0
"""By how much two hosts' wall clocks may run apart, in a second and from the beginning."""


class Retention(Checker):
    name = "retention"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._compacted: dict[str, float] = {}
        """When that was done to each."""

        self._deleted: set[str] = set()

    def deleted(self, saga_id: str) -> None:
        self._deleted.add(saga_id)
        page = self.ledger.pages[saga_id]
        self.check(page.saga.finished is not None, f"{saga_id} was removed, and it has not ended")
        # By the time of its last entry: it may have been long on its way into the store.
        age = WALL_START + self.scene.sim.now - page.saga.updated
        self.check(
            age > REMOVE_SECONDS * (1 - LEEWAY) - OFFSET_SECONDS, f"{saga_id} was removed {age:.3f} s after its end"
        )

    def removed(self, saga_id: str) -> None:
        ended = self.ledger.pages[saga_id].saga.finished
        self.check(ended is not None, f"the log of {saga_id} was removed, and it has not ended")
        if ARCHIVED in self.scene.options.features:
            self._check_archived(saga_id)
        if saga_id not in self._deleted:
            self._compacted[saga_id] = self.scene.sim.now
            self._check_end(saga_id)

    def _check_archived(self, saga_id: str) -> None:
        kept = self.scene.shelf.sagas.get(saga_id)
        lines = 0 if kept is None else gzip.decompress(kept.dump).count(b"\n")
        log = len(self.ledger.pages[saga_id].log)
        self.check(lines == 1 + log, f"of {saga_id} and its {log} entries the archive has {lines} lines")

    def viewed(self, sec_id: str, view: saga_pb2.Saga, asked: float) -> None:
        if asked > self._compacted.get(view.saga_id, asked):
            page = self.ledger.pages[view.saga_id]
            ended = page.saga.finished
            if sec_id == page.owners[-1].sec_id and not is_final(view.state):
                return  # the owner shows what it knows to be durable; the answer to its last append is on its way
            self.check(
                int(view.state) == ended, f"{sec_id} shows {view.saga_id} as {view.state}, and it ended as {ended}"
            )

    def finish(self, *, complete: bool) -> None:
        for saga_id in self._compacted.keys() - self._deleted:
            self._check_end(saga_id)

    def _check_end(self, saga_id: str) -> None:
        stored = self.scene.backend_of(saga_id).read(saga_id)
        kept = None if stored is None or stored.done is None else log_pb2.DoneRecord.FromString(stored.done).saga.state
        self.check(
            kept is not None and int(kept) == self.ledger.pages[saga_id].saga.finished,
            f"of {saga_id} no end is kept that is its own",
        )
