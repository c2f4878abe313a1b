"""Clients and the operator: they create sagas, look at them, give orders, and never stop asking until they are told."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

from grpc import aio

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.core.inputs import Unwind
from sagaline_server.runtime.requests import CreateFate
from tests.simulation.calls import CALL_SECONDS, WAIT_SECONDS, Caller, CallFailed
from tests.simulation.courier import Courier
from tests.simulation.history import History
from tests.simulation.network import Network
from tests.simulation.operator import Operator
from tests.simulation.plans import SagaPlan
from tests.simulation.processes import Host, Process
from tests.simulation.sec import Order, pause
from tests.simulation.steering import Deed
from tests.simulation.world import World

FINAL = (saga_pb2.SAGA_STATE_SUCCEEDED, saga_pb2.SAGA_STATE_UNWOUND)


class SimClient:
    """One life of the clients' process. It does not die: what is asked about clients is what they were told."""

    def __init__(
        self,
        process: Process,
        network: Network,
        history: History,
        secs: Sequence[Host],
        world: World,
        chance: random.Random,
    ) -> None:
        """Make clients; `main` starts them."""
        self.acknowledged: set[str] = set()
        self.ended: set[str] = set()
        self.courier: Courier | None = None
        self.looks_back = False
        """Whether sagas are asked for after their end, too, until they are gone."""
        self.operator = Operator(process, network, history, secs, world, chance, self._see)
        self._process = process
        self._caller = Caller(network, process)
        self._history = history
        self._secs = secs
        self._chance = chance

    async def main(self, plans: Sequence[SagaPlan], deeds: Sequence[Deed] = ()) -> None:
        """Do everything that is planned, each saga in a task of its own."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.operator.main())
            if self.courier is not None:
                group.create_task(self.courier.main())
            for deed in deeds:
                group.create_task(self._do(deed))
            for plan in plans:
                group.create_task(self._live(plan, group))

    async def _live(self, plan: SagaPlan, group: asyncio.TaskGroup) -> None:
        await pause(plan.start)
        spec = plan.spec
        if plan.twin:
            other = saga_pb2.SagaSpec()
            other.CopyFrom(spec)
            if plan.twin == "other":
                other.params.json = '"other"'
            group.create_task(self._create(other))
        if plan.runs:
            group.create_task(self._run(spec))
        await self._create(spec)
        for _ in range(plan.watches):
            group.create_task(self._watch(spec.saga_id))
        if not plan.runs:
            group.create_task(self._follow(spec.saga_id, waits=plan.waits))
        if self.looks_back:
            group.create_task(self._look_back(spec.saga_id))
        for at in plan.hand_offs:
            group.create_task(self._hand_off(spec.saga_id, at))
        for at, order in plan.orders():
            group.create_task(self._order_later(at, Order(spec.saga_id, order)))

    async def _do(self, deed: Deed) -> None:
        """Ask any SEC for something when it is time, again until one has done it."""
        await pause(deed.at)
        while True:
            try:
                done = await self._caller.unary(self._any_sec(), deed.method, deed.request, WAIT_SECONDS)
            except CallFailed:
                await pause(0.5 + self._chance.random())
                continue
            self._history.count(f"did {deed.method}")
            if isinstance(deed.request, saga_service_pb2.BatchControlSagasRequest):
                self._check_batch(deed.request, done)
            return

    def _check_batch(
        self, asked: saga_service_pb2.BatchControlSagasRequest, done: saga_service_pb2.BatchControlSagasResponse
    ) -> None:
        if asked.control == saga_service_pb2.BATCH_CONTROL_UNWIND:
            for saga_id in done.saga_ids:
                self._history.count("unwound by a batch")
                self._history.obeyed(saga_id, Unwind(actor=asked.by.actor, reason=asked.by.reason))

    def _any_sec(self) -> Host:
        return self._chance.choice(self._secs)

    def employ_courier(self, chance: random.Random) -> None:
        """Have results carried."""
        self.courier = Courier(self._caller, self._history, self._secs, chance)

    # ---- creating

    async def _create(self, spec: saga_pb2.SagaSpec) -> None:
        """Create it, asking any SEC again until one says what became of it."""
        while True:
            sec = self._any_sec()
            try:
                fate, digest = await self._caller.unary(sec, "Create", spec, CALL_SECONDS)
            except CallFailed:
                await pause(0.2 + 2.0 * self._chance.random())
                continue
            self._created(sec, spec.saga_id, fate, digest)
            return

    def _created(self, sec: Host, saga_id: str, fate: CreateFate, digest: bytes) -> None:
        self._history.note("client", f"is told by {sec.name} that {saga_id} is {fate.value}")
        self._history.count(f"create {fate.value}")
        if fate is not CreateFate.CONFLICT:
            self.acknowledged.add(saga_id)
            self._history.acknowledged(saga_id, digest)

    async def _run(self, spec: saga_pb2.SagaSpec) -> None:
        """Create it and wait for it in one call, asking any SEC again until it has ended, or is another saga."""
        while spec.saga_id not in self.ended:
            sec, asked = self._any_sec(), self._history.sim.now
            try:
                fate, digest, view = await self._caller.unary(sec, "Run", spec, WAIT_SECONDS)
            except CallFailed as failed:
                self._check_found(spec.saga_id, failed)
                if failed.code == "SAGA_ALREADY_EXISTS":
                    await self._follow(spec.saga_id, waits=True)
                    return
                await pause(0.5 + self._chance.random())
                continue
            self._history.count("run")
            self._created(sec, spec.saga_id, fate, digest)
            self._see(sec.name, view, asked)

    # ---- looking

    async def _follow(self, saga_id: str, *, waits: bool) -> None:
        """Look at it now and then, or wait for it by single calls and by streams in turn, until it has ended."""
        for turn in itertools.count():
            if saga_id in self.ended:
                return
            sec, asked = self._any_sec(), self._history.sim.now
            try:
                if waits and turn % 2:
                    teller, sec = sec, self._any_sec()
                    end = await self._caller.unary(teller, "Follow", saga_id, WAIT_SECONDS)
                    view = await self._caller.unary(sec, "Get", saga_id, CALL_SECONDS)
                    self._check_end(teller, end, view)
                elif waits:
                    view = await self._caller.unary(sec, "Wait", saga_id, WAIT_SECONDS)
                else:
                    await pause(1.0 + 6.0 * self._chance.random())
                    asked = self._history.sim.now
                    view = await self._caller.unary(sec, "Get", saga_id, CALL_SECONDS)
            except CallFailed as failed:
                self._check_found(saga_id, failed)
                await pause(0.5 + self._chance.random())
                continue
            self._see(sec.name, view, asked)

    async def _look_back(self, saga_id: str) -> None:
        """Look at it now and then until there is nothing to be seen."""
        while True:
            await pause(40.0 * self._chance.random())
            sec, asked = self._any_sec(), self._history.sim.now
            try:
                view = await self._caller.unary(sec, "Get", saga_id, CALL_SECONDS)
            except CallFailed as failed:
                self._check_found(saga_id, failed)
                if failed.code == "SAGA_NOT_FOUND":
                    return
            else:
                self._see(sec.name, view, asked)

    def _check_end(self, sec: Host, end: saga_service_pb2.SagaEnd, view: saga_pb2.Saga) -> None:
        """A stream tells of the end that the saga came to; until then of none but the need of an operator."""
        self._history.count(f"end told{' of an operator' if end.needs_operator else ''}")
        if end.HasField("error") or end.needs_operator or view.state not in FINAL:
            return  # an owner may not know yet that its last append is durable
        if (end.state, end.failed_node) != (view.state, view.failed_node):
            told = saga_pb2.SagaState.Name(end.state)
            self._history.fail("ends", f"{sec.name} told that {end.saga_id} is {told}, and it is not")

    def _see(self, sec_id: str, view: saga_pb2.Saga, asked: float) -> None:
        self._history.viewed(sec_id, view, asked)
        if view.state in FINAL:
            self.ended.add(view.saga_id)

    def _check_found(self, saga_id: str, failed: CallFailed) -> None:
        if failed.code == "SAGA_NOT_FOUND" and saga_id in self.acknowledged:
            self._history.not_found(saga_id)
            self.ended.add(saga_id)

    async def _watch(self, saga_id: str) -> None:
        """Watch from the first entry to the last, over as many streams as it takes."""
        following = 1
        while True:
            sec = self._any_sec()
            stream = self._caller.stream(sec, "Watch")
            try:
                await stream.write((saga_id, following))
                while (part := await stream.read()) is not aio.EOF:
                    entries, _ = part
                    self._history.watched(self, entries, saga_id)
                    following = self._follow_entries(saga_id, entries, following, sec)
            except aio.AioRpcError as error:
                if saga_id in self.ended and error.details() in ("LOG_COMPACTED", "SAGA_NOT_FOUND"):
                    return
                await pause(0.2 + self._chance.random())
                continue
            finally:
                stream.cancel()
            self._history.watch_ended(self, saga_id, following)
            return

    def _follow_entries(self, saga_id: str, entries: Sequence[object], following: int, sec: Host) -> int:
        for entry in entries:
            seq = entry.seq  # type: ignore[attr-defined]
            if seq != following:
                self._history.fail(
                    "watches", f"a watch of {saga_id} on {sec.name} was to show entry {following} and showed {seq}"
                )
            following = seq + 1
        return following

    # ---- orders

    async def _order_later(self, seconds: float, order: Order) -> None:
        await pause(seconds)
        await self._order(order)

    async def _order(self, order: Order) -> None:
        """Give an order until some SEC says that it is durable, or that it makes no sense."""
        while order.saga_id not in self.ended:
            sec, asked = self._any_sec(), self._history.sim.now
            try:
                view = await self._caller.unary(sec, "Order", order, WAIT_SECONDS)
            except CallFailed as failed:
                if failed.code not in ("NOT_SERVING", "DEADLINE_EXCEEDED", "UNAVAILABLE", "SAGA_NOT_FOUND"):
                    return
                self._check_found(order.saga_id, failed)
                await pause(0.5 + self._chance.random())
                continue
            self._history.obeyed(order.saga_id, order.given)
            self._see(sec.name, view, asked)
            return

    async def _hand_off(self, saga_id: str, seconds: float) -> None:
        await pause(seconds)
        to = self._chance.choice(("", *(sec.name for sec in self._secs)))
        try:
            await self._caller.unary(self._any_sec(), "HandOff", (saga_id, to), WAIT_SECONDS)
        except CallFailed:
            self._history.count("hand-off not answered")
