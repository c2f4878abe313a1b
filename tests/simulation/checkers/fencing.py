"""At most one SEC dispatches: none decides to send an invocation past its fence, or of a saga that another one owns."""

from __future__ import annotations

from sagaline.v1 import worker_service_pb2 as pb
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
        owner = self.ledger.pages[saga_id].owners[-1]
        self.check(
            invocation.epoch == owner.revision or etcd.was_ended_by_hand(incarnation),
            f"{sec.name} sends an invocation of {saga_id} under the claim of revision {invocation.epoch}, while the"
            f" owner is {owner.sec_id} by that of {owner.revision}",
        )
