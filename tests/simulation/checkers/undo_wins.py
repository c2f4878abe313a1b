"""Undo wins: once a node is undone its effect is not in the world, whatever comes late."""

from __future__ import annotations

from sagaline_server.core.entries import NodeUndone, OperatorResolved, Resolution, UndoneHow
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class UndoWins(Checker):
    name = "undo wins"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._undone: set[tuple[str, str]] = set()

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            entry = stamped.entry
            by_action = isinstance(entry, NodeUndone) and entry.how is UndoneHow.ACTION
            by_hand = isinstance(entry, OperatorResolved) and entry.resolution is Resolution.MARK_UNDONE
            if by_action or by_hand:
                key = (written.saga_id, entry.node)  # type: ignore[union-attr]
                self._undone.add(key)
                row = self.scene.world.row(key)
                self.check(row.closed and row.net == 0, f"{key} is logged as undone, and in the world it is {row}")

    def effect(self, key: tuple[str, str], what: str) -> None:
        row = self.scene.world.row(key)
        self.check(0 <= row.undone <= row.applied <= 1, f"{key} is {row}")
        if key in self._undone:
            self.check(row.net == 0, f"{key} was undone, and then {what}")
