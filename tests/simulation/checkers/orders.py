"""An order that was confirmed has its effect in the log, or waits in the store for the owner."""

from __future__ import annotations

from sagaline_server.core.decide import Resolve, Unwind
from sagaline_server.core.entries import OperatorResolved
from tests.simulation.checkers.checker import Checker


class Orders(Checker):
    name = "orders"

    def obeyed(self, saga_id: str, order: object) -> None:
        page = self.ledger.pages.get(saga_id)
        if page is None:
            self.fail(f"an order to {saga_id} was confirmed, and there is no such saga")
            return
        if self.scene.backend.controls(saga_id) or page.saga.finished is not None:
            return
        if isinstance(order, Unwind):
            self.check(page.saga.unwinding, f"{saga_id} was to unwind, the order was confirmed, and it does not")
        elif isinstance(order, Resolve):
            resolved = any(
                isinstance(stamped.entry, OperatorResolved) and stamped.entry.node == order.node for stamped in page.log
            )
            self.check(resolved, f"node {order.node} of {saga_id} was resolved by confirmation, and not in the log")
