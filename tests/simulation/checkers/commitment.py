"""What can't be undone commits the saga: it never unwinds once a pivot may have had its effect."""

from __future__ import annotations

from collections.abc import Container

from sagaline_server.core.entries import (
    AttemptEnded,
    AttemptStarted,
    Entry,
    NodeFailed,
    OperatorResolved,
    Outcome,
    Resolution,
    UndoAttemptStarted,
    UnwindRequested,
)
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class Commitment(Checker):
    """Knows of pivots what their own entries say, and nothing of how the machine keeps count."""

    name = "commitment"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._sent: dict[str, set[tuple[str, int]]] = {}
        """Attempts of pivots that may have had an effect, by saga."""

    def written(self, written: Written) -> None:
        nodes = self.ledger.pages[written.saga_id].saga.topology.nodes
        pivots = {flat.name for flat in nodes if flat.action is not None and flat.action.pivot}
        if pivots:
            for stamped in written.entries:
                self._read(written.saga_id, stamped.entry, pivots)

    def _read(self, saga_id: str, entry: Entry, pivots: Container[str]) -> None:
        sent = self._sent.setdefault(saga_id, set())
        told = f"{saga_id}: {entry}, and its pivot may have had its effect"
        turns = isinstance(entry, UnwindRequested | UndoAttemptStarted)
        if isinstance(entry, NodeFailed) and (entry.node not in pivots or entry.effect_unknown):
            turns = True
        if turns:
            self.check(not sent, told)
        elif isinstance(entry, NodeFailed) or _is_marked_failed(entry, pivots):
            sent.clear()
        elif isinstance(entry, AttemptStarted) and entry.node in pivots:
            sent.add((entry.node, entry.attempt))
        elif isinstance(entry, AttemptEnded) and entry.outcome is Outcome.REJECTED:
            sent.discard((entry.node, entry.attempt))


def _is_marked_failed(entry: Entry, pivots: Container[str]) -> bool:
    is_marked = isinstance(entry, OperatorResolved) and entry.resolution is Resolution.MARK_FAILED
    return is_marked and entry.node in pivots  # type: ignore[union-attr]
