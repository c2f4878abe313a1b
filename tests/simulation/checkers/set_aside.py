"""Nothing of a saga starts while it is set aside, and only an operator sets one aside."""

from __future__ import annotations

from sagaline_server.core.entries import AttemptStarted, QuarantineChanged, UndoAttemptStarted
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class SetAside(Checker):
    name = "set aside"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._aside: dict[str, str] = {}
        """Why, of each that is."""

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, QuarantineChanged):
                if entry.quarantined:
                    self._aside[written.saga_id] = entry.reason
                else:
                    self._aside.pop(written.saga_id, None)
            elif isinstance(entry, AttemptStarted | UndoAttemptStarted):
                why = self._aside.get(written.saga_id)
                self.check(why is None, f"{written.saga_id} is set aside ({why}), and its node {entry.node} starts")

    def looked(self) -> None:
        for sec, engine in self.scene.engines():
            found = dict(engine.quarantined)
            self.check(not found, f"{sec.process.name} has set sagas aside by itself: {found}")

    def finish(self, *, complete: bool) -> None:
        self.looked()
