"""A courier: carries results to any SEC by single calls, a second time, late, or before the worker does itself."""

from __future__ import annotations

import random
from collections.abc import Sequence

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.attempts import Ref
from tests.simulation.calls import WAIT_SECONDS, Caller, CallFailed
from tests.simulation.history import History
from tests.simulation.processes import Host
from tests.simulation.sec import pause


class Courier:
    """One who never knows whether he comes first."""

    def __init__(self, caller: Caller, history: History, secs: Sequence[Host], chance: random.Random) -> None:
        """Make a courier, who sits at the clients' process."""
        self._caller = caller
        self._history = history
        self._secs = secs
        self._chance = chance

    async def main(self) -> None:
        """Carry results for ever."""
        while True:
            await pause(3.0 * self._chance.random())
            if self._history.results:
                await self._carry(*self._chance.choice(self._history.results))

    async def _carry(self, worker_id: str, result: pb.InvocationResult) -> None:
        sec = self._chance.choice(self._secs)
        request = pb.ReportResultsRequest(worker_id=worker_id, results=[result])
        try:
            answer = await self._caller.unary(sec, "ReportResults", request, WAIT_SECONDS)
        except CallFailed:
            return
        for ack in answer.result_acks:
            self._history.note("courier", f"carried {Ref.of(ack.ref)}: {pb.ResultStatus.Name(ack.status)}")
            self._history.acked(sec.name, ack)
