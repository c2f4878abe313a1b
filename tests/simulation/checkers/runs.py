"""User code runs at most once for an attempt and once at a time for a node on a worker, and verdicts are true.

A verdict is what a SEC logs of an attempt without a result: that it certainly
never ran, or that its worker does not hold it. An attempt of a worker that was
away for the whole grace time may run on; that is what undo and barriers are for.
"""

from __future__ import annotations

from sagaline.worker.attempts import ACTION, UNDO, Ref
from sagaline_server.core.entries import AttemptEnded, Outcome, UndoAttemptEnded
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.processes import Process
from tests.simulation.scene import Scene


class Runs(Checker):
    name = "runs"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._begun: set[Ref] = set()
        self._running: dict[tuple[str, str, str], Ref] = {}
        self._never: dict[Ref, str] = {}
        """Attempts that by some verdict never begin any more."""

    def run_began(self, worker: Process, ref: Ref, epoch: int) -> None:
        self.check(ref not in self._begun, f"{ref} runs a second time, on {worker.name}")
        self.check(ref not in self._never, f"{ref} begins on {worker.name}; {self._never.get(ref)}")
        self._begun.add(ref)
        place = (worker.name, ref.saga_id, ref.node)
        self.check(place not in self._running, f"{ref} begins on {worker.name} beside {self._running.get(place)}")
        self._running[place] = ref

    def run_ended(self, worker: Process, ref: Ref) -> None:
        self._running.pop((worker.name, ref.saga_id, ref.node), None)

    def died(self, process: Process) -> None:
        for place in [place for place in self._running if place[0] == process.name]:
            del self._running[place]

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, AttemptEnded | UndoAttemptEnded):
                kind = ACTION if isinstance(entry, AttemptEnded) else UNDO
                self._check_verdict(Ref(written.saga_id, entry.node, kind, entry.attempt), entry)

    def _check_verdict(self, ref: Ref, entry: AttemptEnded | UndoAttemptEnded) -> None:
        if entry.outcome is Outcome.REJECTED:
            self.check(ref not in self._begun, f"{ref} was logged as rejected, and it has run")
            self._never[ref] = "it was logged as rejected"
        elif entry.uncounted:
            running = ref in self._running.values()
            self.check(not running, f"{ref} was logged as not held by its worker, where it runs")
            self._never[ref] = "it was logged as not held by its worker"
