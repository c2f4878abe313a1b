"""Do and undo come in the legal order, by `apply` and by a second opinion that knows nothing of how it counts."""

from __future__ import annotations

from sagaline_server.core.apply import IllegalEntry, apply
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene
from tests.unit.core.audit import Auditor, RuleBroken


class LegalOrder(Checker):
    name = "legal order"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._auditors: dict[str, Auditor] = {}

    def written(self, written: Written) -> None:
        saga = self.ledger.pages[written.saga_id].saga
        auditor = self._auditors.get(written.saga_id)
        if auditor is None:
            auditor = self._auditors[written.saga_id] = Auditor(saga.topology)
        for stamped in written.entries:
            try:
                auditor.read(stamped)
                apply(saga, stamped)
            except (RuleBroken, IllegalEntry) as error:
                self.fail(f"{written.saga_id}: {error}")
                return
        saga.woken.clear()
