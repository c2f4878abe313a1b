"""At most one SEC dispatches: none decides to send an invocation past its fence, or of a saga that another one owns."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.runtime.live import EPOCHS_OF_A_SAGA
from tests.simulation.checkers.checker import Checker
from tests.simulation.processes import Process


class Fencing(Checker):
    """A SEC whose lease was ended by hand can only believe in it until its time is over."""

    name = "fencing"

    def dispatched(self, sec: Process, invocation: pb.Invocation) -> None:
        saga_id = invocation.ref.saga_id
        now, etcd = self.scene.sim.now, self.scene.etcd_of(saga_id)
        stores = self.scene.live_secs[sec.host.name].stores
        incarnation = stores[self.scene.etcds.index(etcd)].incarnation
        until = etcd.natural_end(incarnation)
        self.check(
            now <= until,
            f"{sec.name} sends an invocation of {saga_id} {now - until:.3f} s after the lease of its"
            f" incarnation {incarnation} has ended",
        )
        epoch = self.ledger.pages[saga_id].epoch
        told = invocation.epoch % EPOCHS_OF_A_SAGA
        self.check(
            told == epoch or etcd.was_ended_by_hand(incarnation),
            f"{sec.name} sends an invocation of {saga_id} in epoch {told} while it is in epoch {epoch}",
        )
