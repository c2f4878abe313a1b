"""A watch shows every entry once, in order, as the log has it, and ends with the log's end."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline_server.core.entries import Stamped
from tests.simulation.checkers.alike import alike
from tests.simulation.checkers.checker import Checker


class Watches(Checker):
    name = "watches"

    def watched(self, watch: object, entries: Sequence[Stamped], saga_id: str) -> None:
        log = self.ledger.pages[saga_id].log
        for entry in entries:
            durable = entry.seq <= len(log) and alike(log[entry.seq - 1], entry)
            self.check(durable, f"a watch of {saga_id} shows {entry}, which is not in the log")

    def watch_ended(self, watch: object, saga_id: str, following: int) -> None:
        page = self.ledger.pages[saga_id]
        self.check(
            page.saga.finished is not None and following == len(page.log) + 1,
            f"a watch of {saga_id} ended after entry {following - 1} of {len(page.log)},"
            f" and the saga is {page.saga.state.name}",
        )
