"""A saga is taken only from the dead: whoever can still speak gives it away, or keeps it."""

from __future__ import annotations

from sagaline_server.ports.store import OwnedSaga
from tests.simulation.checkers.checker import Checker


class Adoption(Checker):
    name = "adoption"

    def adopted(self, old: OwnedSaga, new: OwnedSaga) -> None:
        lives = self.scene.alive(old.sec_id, old.incarnation)
        told = f"{new.sec_id} took {old.saga_id} from {old.sec_id} incarnation {old.incarnation}, which lives"
        self.check(not lives, told)
