"""An order that was confirmed has its effect in the log, once, or waits in the store for the owner."""

from __future__ import annotations

from sagaline_server.core.entries import SignalReceived
from sagaline_server.core.inputs import InjectFault, Resolve, SetQuarantined, Signal, Unwind
from sagaline_server.core.orders import is_effect
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class Orders(Checker):
    name = "orders"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._signals: set[tuple[str, str]] = set()

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            if isinstance(stamped.entry, SignalReceived):
                key = (written.saga_id, stamped.entry.request_id)
                self.check(key not in self._signals, f"{key[0]} receives the signal of request {key[1]} twice")
                self._signals.add(key)

    def obeyed(self, saga_id: str, order: object) -> None:
        page = self.ledger.pages.get(saga_id)
        if page is None:
            self.fail(f"an order to {saga_id} was confirmed, and there is no such saga")
            return
        if self.scene.backend_of(saga_id).controls(saga_id):
            return
        if page.saga.finished is not None:
            return  # it may have been confirmed while it waited for an owner, and the saga has ended without it
        if isinstance(order, Signal):
            there = (saga_id, order.request_id) in self._signals
            self.check(there, f"{saga_id} was sent {order.signal}, that was confirmed, and it is not in the log")
        elif isinstance(order, Unwind):
            self.check(page.saga.unwinding, f"{saga_id} was to unwind, the order was confirmed, and it does not")
        elif isinstance(order, Resolve | InjectFault | SetQuarantined):
            carried_out = any(is_effect(stamped.entry, order) for stamped in page.log)
            is_so = isinstance(order, SetQuarantined) and not order.quarantined  # nothing was to be done about it
            seen = order.expected_log_length if isinstance(order, Resolve) else 0
            is_late = 0 < seen < page.log[-1].seq  # it waited for an owner, and the saga went on before
            self.check(
                carried_out or is_so or is_late, f"{saga_id}: {order} was confirmed, and the log has nothing of it"
            )
