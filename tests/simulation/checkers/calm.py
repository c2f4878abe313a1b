"""Without faults nothing is lost, rejected for the wrong reason, or run twice: hand-offs included."""

from __future__ import annotations

from sagaline_server.core.entries import AttemptEnded, OwnerChange, OwnerChanged, UndoAttemptEnded
from sagaline_server.core.values import FailureSource
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written

PEACEFUL = frozenset({"drift", "wall jumps", "sec drain"})
"""Faults that lose nothing where everybody behaves."""


class Calm(Checker):
    name = "calm"

    def written(self, written: Written) -> None:
        if not self.scene.options.faults <= PEACEFUL:
            return
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, AttemptEnded | UndoAttemptEnded) and entry.failure is not None:
                lost = entry.failure.source is FailureSource.WORKER_LOST
                self.check(not lost, f"{written.saga_id}: {entry}, and no worker was ever away")
            if isinstance(entry, OwnerChanged) and "sec drain" not in self.scene.options.faults:
                told = f"{written.saga_id} was adopted by {entry.sec_id}, and no SEC has died"
                self.check(entry.how is OwnerChange.HANDED_OFF, told)
