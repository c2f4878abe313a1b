"""A saga that needs an operator is in the figure that alarms, at the SEC that runs it, and no other saga is."""

from __future__ import annotations

from tests.simulation.checkers.checker import Checker


class Alarms(Checker):
    name = "alarms"

    def looked(self) -> None:
        for sec, engine in self.scene.engines():
            need = {live.saga_id for live in engine.sagas.values() if live.state.needs_operator}
            told = f"{sec.process.name} alarms for {sorted(engine.need_operator)}, and {sorted(need)} need somebody"
            self.check(engine.need_operator == need, told)

    def finish(self, *, complete: bool) -> None:
        self.looked()
