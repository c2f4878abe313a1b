"""The world that actions change, as a worker with a barrier keeps it: one row a node, and undo wins."""

from __future__ import annotations

from collections.abc import Iterable

from sagaline_server.core.entries import (
    AttemptStarted,
    Kind,
    NodeSucceeded,
    NodeUndone,
    OperatorResolved,
    Resolution,
    Stamped,
    UndoneHow,
)
from sagaline_server.core.invocation import idempotency_key
from sagaline_server.core.values import Payload


class Row:
    """What the barrier remembers of one node."""

    def __init__(self) -> None:
        self.applied = 0
        self.undone = 0
        self.closed = False
        """True once an undo came: no action has an effect any more."""
        self.output: Payload | None = None


class Effects:
    """All effects of one saga."""

    def __init__(self, saga_id: str = "saga-1") -> None:
        self.saga_id = saga_id
        self.rows: dict[str, Row] = {}

    def row(self, node: str) -> Row:
        return self.rows.setdefault(idempotency_key(self.saga_id, node, Kind.ACTION), Row())

    def net(self, node: str) -> int:
        """Return how often the node's effect is in the world: 0 or 1."""
        row = self.row(node)
        assert 0 <= row.undone <= row.applied <= 1, f"{node}: applied {row.applied}, undone {row.undone}"
        return row.applied - row.undone

    def act(self, node: str, output: Payload) -> Payload | None:
        """Run an action: at most one effect, always the same output; None where an undo came first."""
        row = self.row(node)
        if row.closed:
            return None
        if not row.applied:
            row.applied, row.output = 1, output
        return row.output

    def has_effect(self, node: str) -> bool:
        return self.row(node).applied > 0

    def undo(self, node: str) -> None:
        """Run an undo action, or do by hand what it is for."""
        row = self.row(node)
        row.closed = True
        row.undone = row.applied

    @classmethod
    def told_by(cls, log: Iterable[Stamped]) -> Effects:
        """Return the least that a log says has happened."""
        effects = cls()
        for stamped in log:
            match stamped.entry:
                case AttemptStarted(node=node):
                    effects.row(node)
                case NodeSucceeded(node=node, output=output):
                    effects.act(node, output)
                case NodeUndone(node=node, how=UndoneHow.ACTION):
                    effects.undo(node)
                case OperatorResolved(node=node, resolution=Resolution.MARK_UNDONE | Resolution.MARK_FAILED):
                    effects.undo(node)
                case OperatorResolved(node=node, resolution=Resolution.SUPPLY_OUTPUT, output=Payload() as output):
                    effects.act(node, output)
        return effects
