"""Every log is gapless, has one living writer an epoch, and its epochs never go back."""

from __future__ import annotations

from sagaline_server.ports.store import OwnedSaga
from tests.simulation.checkers.checker import Checker
from tests.simulation.history import Written
from tests.simulation.scene import Scene


class LogOrder(Checker):
    name = "log order"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._next: dict[str, int] = {}
        self._epoch: dict[str, int] = {}

    def owned(self, owner: OwnedSaga) -> None:
        epochs = self._epoch.get(f"owner {owner.saga_id}", 0)
        self.check(owner.epoch == epochs + 1, f"{owner.saga_id} went from epoch {epochs} to {owner.epoch}")
        self._epoch[f"owner {owner.saga_id}"] = owner.epoch

    def written(self, written: Written) -> None:
        saga_id = written.saga_id
        alive = self.scene.alive(written.sec_id, written.incarnation)
        self.check(alive, f"{written.sec_id} incarnation {written.incarnation} is dead, and writes to {saga_id}")
        for stamped in written.entries:
            following = self._next.get(saga_id, 1)
            self.check(stamped.seq == following, f"{saga_id}: entry {stamped.seq} comes where {following} belongs")
            self._next[saga_id] = following + 1
            last = self._epoch.get(saga_id, 1)
            self.check(stamped.epoch >= last, f"{saga_id}: entry {stamped.seq} of epoch {stamped.epoch} after {last}")
            self._epoch[saga_id] = stamped.epoch
            self._check_writer(written, stamped.epoch, stamped.seq)

    def _check_writer(self, written: Written, epoch: int, seq: int) -> None:
        owners = self.ledger.pages[written.saga_id].owners
        if not 1 <= epoch <= len(owners):
            self.fail(f"{written.saga_id}: entry {seq} is of epoch {epoch}, which nobody has begun")
            return
        owner = owners[epoch - 1]
        mine = (owner.sec_id, owner.incarnation) == (written.sec_id, written.incarnation)
        self.check(
            mine and epoch == len(owners),
            f"{written.saga_id}: {written.sec_id} incarnation {written.incarnation} wrote entry {seq} in epoch {epoch};"
            f" {owners[-1].sec_id} incarnation {owners[-1].incarnation} owns it in epoch {len(owners)}",
        )
