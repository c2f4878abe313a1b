"""Clients and the operator: they create sagas, look at them, give orders, and never stop asking until they are told."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Sequence

from grpc import aio

from sagaline.v1 import admin_service_pb2, payload_pb2, saga_pb2, saga_service_pb2
from sagaline_server.core.entries import Resolution
from sagaline_server.core.inputs import Resolve, SetBreakpoints, SetPaused, SetQuarantined
from sagaline_server.runtime.requests import CreateFate
from sagaline_server.wire.payloads import payload_from
from tests.simulation.calls import Caller, CallFailed
from tests.simulation.history import History
from tests.simulation.network import Network
from tests.simulation.plans import SagaPlan
from tests.simulation.processes import Host, Process
from tests.simulation.sec import Order, pause
from tests.simulation.world import World

CALL_SECONDS = 8.0
WAIT_SECONDS = 30.0
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
        self.operator_works = 0.3
        """Share of the operator's rounds in which he does something."""
        self.is_calm = False
        """True once the faults are over: what is paused is to go on."""
        self._process = process
        self._caller = Caller(network, process)
        self._history = history
        self._secs = secs
        self._world = world
        self._chance = chance

    async def main(
        self, plans: Sequence[SagaPlan], limits: Sequence[tuple[float, admin_service_pb2.Limit]] = ()
    ) -> None:
        """Do everything that is planned, each saga in a task of its own."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._operate())
            for at, limit in limits:
                group.create_task(self._limit(at, limit))
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
        for at in plan.hand_offs:
            group.create_task(self._hand_off(spec.saga_id, at))
        for at, order in plan.orders():
            group.create_task(self._order_later(at, Order(spec.saga_id, order)))

    async def _limit(self, at: float, limit: admin_service_pb2.Limit) -> None:
        """Set a limit when it is time, asking any SEC again until one has done it."""
        await pause(at)
        while True:
            try:
                await self._caller.unary(self._any_sec(), "SetLimit", limit, CALL_SECONDS)
            except CallFailed:
                await pause(0.5 + self._chance.random())
                continue
            self._history.count("limit set")
            return

    def _any_sec(self) -> Host:
        return self._chance.choice(self._secs)

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
            sec = self._any_sec()
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
            self._see(sec.name, view)

    # ---- looking

    async def _follow(self, saga_id: str, *, waits: bool) -> None:
        """Look at it now and then, or wait for it by single calls and by streams in turn, until it has ended."""
        for turn in itertools.count():
            if saga_id in self.ended:
                return
            sec = self._any_sec()
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
                    view = await self._caller.unary(sec, "Get", saga_id, CALL_SECONDS)
            except CallFailed as failed:
                self._check_found(saga_id, failed)
                await pause(0.5 + self._chance.random())
                continue
            self._see(sec.name, view)

    def _check_end(self, sec: Host, end: saga_service_pb2.SagaEnd, view: saga_pb2.Saga) -> None:
        """A stream tells of the end that the saga came to; until then of none but the need of an operator."""
        self._history.count(f"end told{' of an operator' if end.needs_operator else ''}")
        if end.HasField("error") or end.needs_operator or view.state not in FINAL:
            return  # an owner may not know yet that its last append is durable
        if (end.state, end.failed_node) != (view.state, view.failed_node):
            told = saga_pb2.SagaState.Name(end.state)
            self._history.fail("ends", f"{sec.name} told that {end.saga_id} is {told}, and it is not")

    def _see(self, sec_id: str, view: saga_pb2.Saga) -> None:
        self._history.viewed(sec_id, view)
        if view.state in FINAL:
            self.ended.add(view.saga_id)

    def _check_found(self, saga_id: str, failed: CallFailed) -> None:
        if failed.code == "SAGA_NOT_FOUND" and saga_id in self.acknowledged:
            self._history.fail("creates", f"saga {saga_id} was acknowledged, and a SEC says that there is none")

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
            except aio.AioRpcError:
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
            sec = self._any_sec()
            try:
                view = await self._caller.unary(sec, "Order", order, WAIT_SECONDS)
            except CallFailed as failed:
                if failed.code not in ("NOT_SERVING", "DEADLINE_EXCEEDED", "UNAVAILABLE", "SAGA_NOT_FOUND"):
                    return
                self._check_found(order.saga_id, failed)
                await pause(0.5 + self._chance.random())
                continue
            self._history.obeyed(order.saga_id, order.given)
            self._see(sec.name, view)
            return

    async def _hand_off(self, saga_id: str, seconds: float) -> None:
        await pause(seconds)
        to = self._chance.choice(("", *(sec.name for sec in self._secs)))
        try:
            await self._caller.unary(self._any_sec(), "HandOff", (saga_id, to), WAIT_SECONDS)
        except CallFailed:
            self._history.count("hand-off not answered")

    # ---- the operator

    async def _operate(self) -> None:
        """Look for sagas that need somebody, and decide; always honestly."""
        while True:
            await pause(2.0 + 3.0 * self._chance.random())
            if self._chance.random() >= self.operator_works:
                continue
            try:
                views = await self._caller.unary(self._any_sec(), "Unfinished", "", CALL_SECONDS)
            except CallFailed:
                continue
            for view in views:
                await self._decide(view)

    async def _decide(self, view: saga_pb2.Saga) -> None:
        if view.state == saga_pb2.SAGA_STATE_QUARANTINED and (self.is_calm or self._chance.random() < 0.1):
            # An order to set it aside may come after the one to release it, by another SEC.
            await self._once(Order(view.saga_id, SetQuarantined(False, "operator", "nothing is wrong with it")))
        if view.paused and (self.is_calm or self._chance.random() < 0.3):
            await self._once(Order(view.saga_id, SetPaused(False, "operator")))
        if self.is_calm and any("breakpoint" in node.waiting_for for node in view.nodes):
            # Orders that two SECs accepted may have been carried out in the other order.
            await self._once(Order(view.saga_id, SetBreakpoints((), "operator")))
        for node in view.nodes:
            order = self._decision(view.saga_id, node)
            if order is not None:
                self._history.count(f"operator {order.resolution.name}")
                await self._once(Order(view.saga_id, order))

    def _decision(self, saga_id: str, node: saga_pb2.NodeView) -> Resolve | None:
        key = (saga_id, node.name)
        row = self._world.row(key)
        if node.status == saga_pb2.NODE_STATUS_UNDO_FAILED:
            if self._chance.random() < 0.5:
                return Resolve(node.name, Resolution.RETRY, "operator", "again")
            self._world.undo(key)
            return Resolve(node.name, Resolution.MARK_UNDONE, "operator", "done by hand")
        if node.status == saga_pb2.NODE_STATUS_HELD:
            if row.applied and not row.closed and self._chance.random() < 0.5:
                output = payload_from(payload_pb2.Payload(json=row.output))
                return Resolve(node.name, Resolution.SUPPLY_OUTPUT, "operator", "it is there", output)
            return Resolve(node.name, Resolution.RETRY, "operator", "again")
        return None

    async def _once(self, order: Order) -> None:
        try:
            view = await self._caller.unary(self._any_sec(), "Order", order, WAIT_SECONDS)
        except CallFailed:
            return
        self._history.obeyed(order.saga_id, order.given)
        self._see("operator", view)
