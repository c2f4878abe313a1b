"""Replay equals live: what a SEC has in memory of a saga is what its log leads to."""

from __future__ import annotations

from sagaline_server.core.state import Saga
from sagaline_server.runtime.live import LiveSaga
from tests.simulation.checkers.alike import alike
from tests.simulation.checkers.checker import Checker
from tests.simulation.sec import SimSec

SLOTS = tuple(slot for slot in Saga.__struct_fields__ if slot not in ("topology", "woken"))


class Replay(Checker):
    name = "replay"

    def looked(self) -> None:
        for sec, engine in self.scene.engines():
            if self.scene.lives(sec):
                for live in engine.sagas.values():
                    self._compare(sec, live)

    def _compare(self, sec: SimSec, live: LiveSaga) -> None:
        page = self.ledger.pages.get(live.saga_id)
        if page is None or live.claim is None or live.is_writing or live.is_leaving:
            return
        if live.claim.epoch != page.epoch:
            return  # it will hear of that with its next append
        for slot in SLOTS:
            mine, logged = getattr(live.state, slot), getattr(page.saga, slot)
            if not alike(mine, logged):
                self.fail(f"{sec.process.name} has {slot} {mine} of {live.saga_id}, and the log leads to {logged}")
                return

    def finish(self, *, complete: bool) -> None:
        self.looked()
