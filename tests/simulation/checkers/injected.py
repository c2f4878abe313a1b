"""A fault strikes as often as it was injected, and no worker hears of an attempt that one took the place of."""

from __future__ import annotations

from collections import Counter

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from sagaline_server.core.entries import FaultInjected, FaultKind, FaultStruck
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.processes import Process
from tests.simulation.scene import Scene


class Injected(Checker):
    name = "injected"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._left: Counter[tuple[str, str, FaultKind]] = Counter()

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            entry = stamped.entry
            if isinstance(entry, FaultInjected):
                self._left[written.saga_id, entry.node, entry.fault] += entry.times
            elif isinstance(entry, FaultStruck):
                key = (written.saga_id, entry.node, entry.fault)
                self.check(self._left[key] > 0, f"{key} strikes more often than it was injected")
                self._left[key] -= 1
                self.scene.history.count(f"struck {entry.fault.name}")

    def dispatched(self, sec: Process, invocation: pb.Invocation) -> None:
        ref = Ref.of(invocation.ref)
        worker_id = self.ledger.pages[ref.saga_id].started.get(ref)
        self.check(worker_id != "", f"{sec.name} sends {ref}, which a fault took the place of")
