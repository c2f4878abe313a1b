"""Without faults nothing is lost, rejected for the wrong reason, or run twice: hand-offs included."""

from __future__ import annotations

from sagaline.worker.attempts import ACTION, UNDO, Ref
from sagaline_server.core.entries import AttemptEnded, OwnerChange, OwnerChanged, UndoAttemptEnded
from sagaline_server.core.values import FailureSource
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.options import INJECTED
from tests.simulation.processes import Process
from tests.simulation.scene import Scene

PEACEFUL = frozenset({"drift", "wall jumps", "sec drain", "worker drain"})
"""Faults that lose nothing where everybody behaves, and no SEC dies of a fault that is injected."""


class Calm(Checker):
    """A worker that drains may leave an attempt behind that does not stop; what has ended is not lost even then."""

    name = "calm"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._faults = scene.options.faults
        self._is_peaceful = self._faults <= PEACEFUL and INJECTED not in scene.options.features
        self._has_ended: set[Ref] = set()

    def run_ended(self, worker: Process, ref: Ref) -> None:
        self._has_ended.add(ref)

    def written(self, written: Written) -> None:
        if not self._is_peaceful:
            return
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, AttemptEnded | UndoAttemptEnded):
                self._check_lost(written.saga_id, entry)
            elif isinstance(entry, OwnerChanged) and "sec drain" not in self._faults:
                told = f"{written.saga_id} was adopted by {entry.sec_id}, and no SEC has died"
                self.check(entry.how is OwnerChange.HANDED_OFF, told)

    def _check_lost(self, saga_id: str, entry: AttemptEnded | UndoAttemptEnded) -> None:
        kind = ACTION if isinstance(entry, AttemptEnded) else UNDO
        has_ended = Ref(saga_id, entry.node, kind, entry.attempt) in self._has_ended
        if entry.failure is not None and ("worker drain" not in self._faults or has_ended):
            lost = entry.failure.source is FailureSource.WORKER_LOST
            self.check(not lost, f"{saga_id}: {entry}, and no worker was ever away")
