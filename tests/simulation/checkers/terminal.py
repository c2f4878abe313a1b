"""An end is an end: nothing is written after it, and no client ever sees a saga that has ended go on."""

from __future__ import annotations

from sagaline.v1 import saga_pb2
from sagaline_server.core.entries import SagaFinished
from tests.simulation.checkers.checker import Checker
from tests.simulation.clients import FINAL
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class Terminal(Checker):
    name = "terminal"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._ended: dict[str, int] = {}
        self._shown: dict[str, int] = {}

    def written(self, written: Written) -> None:
        self.check(written.saga_id not in self._ended, f"{written.saga_id} has ended, and something is written to it")
        for stamped in written.entries:
            if isinstance(stamped.entry, SagaFinished):
                self._ended[written.saga_id] = int(stamped.entry.state)

    def viewed(self, sec_id: str, view: saga_pb2.Saga, asked: float) -> None:
        if view.state in FINAL:
            self.check(
                self._ended.get(view.saga_id) == view.state,
                f"{sec_id} shows {view.saga_id} as {saga_pb2.SagaState.Name(view.state)}, which its log does not say",
            )
            self._shown[view.saga_id] = view.state
