"""Who has given a saga away writes to it no more: the gate was held, and nothing was under way."""

from __future__ import annotations

from sagaline_server.ports.store import Append, Claim
from tests.simulation.checkers.checker import Checker
from tests.simulation.scene import Scene


class HandingOff(Checker):
    name = "handing off"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._given: set[tuple[str, int]] = set()

    def handed_off(self, sec_id: str, incarnation: int, claim: Claim) -> None:
        self._given.add((claim.saga_id, claim.epoch))

    def fenced(self, sec_id: str, incarnation: int, write: Append) -> None:
        claim = write.claim
        told = f"{sec_id} has given {claim.saga_id} away in epoch {claim.epoch}, and still writes to it"
        # One that only takes requests away has nothing to be recognised by when it comes twice.
        self.check(not write.batch or (claim.saga_id, claim.epoch) not in self._given, told)
