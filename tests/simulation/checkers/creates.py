"""Every acknowledged creation is there, once, with the content that was asked for, and comes to its end."""

from __future__ import annotations

from sagaline.v1 import log_pb2
from tests.simulation.checkers.checker import Checker
from tests.simulation.scene import Scene


class Creates(Checker):
    name = "creates"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._acknowledged: dict[str, bytes] = {}
        self._deleted: set[str] = set()

    def acknowledged(self, saga_id: str, digest: bytes) -> None:
        stored = self.scene.backend_of(saga_id).read(saga_id)
        if stored is None:
            self.fail(f"{saga_id} was acknowledged, and is not stored")
            return
        found = log_pb2.SagaRecord.FromString(stored.record).digest
        self.check(found == digest, f"{saga_id} was acknowledged, and what is stored has other content")
        before = self._acknowledged.setdefault(saga_id, digest)
        self.check(before == digest, f"{saga_id} was acknowledged with two contents")

    def deleted(self, saga_id: str) -> None:
        self._deleted.add(saga_id)

    def not_found(self, saga_id: str) -> None:
        told = f"{saga_id} was acknowledged, and a SEC says that there is none"
        self.check(saga_id in self._deleted, told)

    def finish(self, *, complete: bool) -> None:
        for saga_id in self._acknowledged:
            stored = self.scene.backend_of(saga_id).read(saga_id)
            ended = saga_id in self._deleted or (stored is not None and stored.done is not None)
            self.check(ended or not complete, f"{saga_id} was acknowledged, and has not ended")
