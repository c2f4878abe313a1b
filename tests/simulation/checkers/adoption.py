"""A saga is taken only from the dead: whoever can still speak gives it away, or keeps it. And it is taken in time."""

from __future__ import annotations

from sagaline_server.ports.store import OwnedSaga
from tests.simulation.checkers.checker import Checker
from tests.simulation.scene import Scene

ORPHAN_SECONDS = 100.0
"""Without a fault: a lease, a sweep, the restart of a SEC that died of an injected fault, and some more."""


class Adoption(Checker):
    name = "adoption"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._orphans: dict[str, tuple[int, float]] = {}
        """The dead owner of each saga that is nobody's, and since when."""

    def adopted(self, old: OwnedSaga, new: OwnedSaga) -> None:
        told = f"{new.sec_id} took {old.saga_id} from {old.sec_id} incarnation {old.incarnation}, which lives"
        self.check(not self._lives(old), told)

    def _lives(self, owner: OwnedSaga) -> bool:
        return self.scene.alive(owner.sec_id, owner.incarnation)

    def looked(self) -> None:
        if not self.scene.client.operator.is_calm:
            return
        now, before = self.scene.sim.now, self._orphans
        orphans = [owner for etcd in self.scene.etcds for owner in etcd.backend.owned() if not self._lives(owner)]
        self._orphans = {}
        for owner in orphans:
            revision, since = before.get(owner.saga_id, (owner.revision, now))
            self._orphans[owner.saga_id] = (owner.revision, since if revision == owner.revision else now)
            told = f"{owner.saga_id} is nobody's for {now - since:.1f} s; {owner.sec_id} is dead"
            self.check(revision != owner.revision or now - since < ORPHAN_SECONDS, told)
