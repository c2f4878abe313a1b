"""The operator: looks for sagas that need somebody, and decides about them, always honestly."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence

import msgspec

from sagaline.v1 import admin_service_pb2, payload_pb2, saga_pb2
from sagaline_server.core.entries import Resolution
from sagaline_server.core.inputs import Resolve, SetBreakpoints, SetPaused, SetQuarantined
from sagaline_server.wire.payloads import payload_from
from tests.simulation.calls import CALL_SECONDS, WAIT_SECONDS, Caller, CallFailed
from tests.simulation.history import History
from tests.simulation.network import Network
from tests.simulation.processes import Host, Process
from tests.simulation.sec import Order, pause
from tests.simulation.world import World

See = Callable[[str, saga_pb2.Saga, float], None]
"""Told what he was shown of a saga, by whom, and when he asked."""


class Operator:
    """One who looks now and then."""

    def __init__(
        self,
        process: Process,
        network: Network,
        history: History,
        secs: Sequence[Host],
        world: World,
        chance: random.Random,
        see: See,
    ) -> None:
        """Make an operator, who sits at the clients' process."""
        self.works = 0.3
        """Share of his rounds in which he does something."""
        self.is_calm = False
        """True once the faults are over: what is paused is to go on."""
        self._caller = Caller(network, process)
        self._history = history
        self._secs = secs
        self._world = world
        self._chance = chance
        self._see = see

    def _any_sec(self) -> Host:
        return self._chance.choice(self._secs)

    async def main(self) -> None:
        """Look for sagas that need somebody, and decide; always honestly."""
        while True:
            await pause(2.0 + 3.0 * self._chance.random())
            if self._chance.random() >= self.works:
                continue
            try:
                views = await self._caller.unary(self._any_sec(), "Unfinished", "", CALL_SECONDS)
            except CallFailed:
                continue
            for view in views:
                await self._decide(view)
            if self.is_calm:
                await self._raise_limits()
                await self._clear_points()
            elif views:
                await self._ask_why(self._chance.choice(views).saga_id)

    async def _ask_why(self, saga_id: str) -> None:
        with contextlib.suppress(CallFailed):
            told = await self._caller.unary(self._any_sec(), "Explain", saga_id, CALL_SECONDS)
            for wait in told.waits:
                self._history.count(f"told why {admin_service_pb2.WaitReason.Name(wait.reason)}")

    async def _clear_points(self) -> None:
        """Clear what holds actions: of two orders, the later may have come first."""
        with contextlib.suppress(CallFailed):
            for action in await self._caller.unary(self._any_sec(), "ListPoints", "", CALL_SECONDS):
                await self._caller.unary(self._any_sec(), "ClearPoint", action, CALL_SECONDS)

    async def _raise_limits(self) -> None:
        """Lift the limits that let nothing start: of two that were set, the later may have come first."""
        try:
            limits: list[admin_service_pb2.Limit] = await self._caller.unary(
                self._any_sec(), "ListLimits", "", CALL_SECONDS
            )
            for limit in limits:
                if stops(limit):
                    lifted = admin_service_pb2.Limit()
                    lifted.CopyFrom(limit)
                    lifted.ClearField("max_in_flight")
                    lifted.ClearField("max_running")
                    await self._caller.unary(self._any_sec(), "SetLimit", lifted, CALL_SECONDS)
        except CallFailed:
            return  # he comes again

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
            order = self._decision(view.saga_id, node, commits=may_commit(view.graph))
            if order is not None:
                if not self.is_calm and self._chance.random() < 0.5:
                    seen = view.log_length - self._chance.choice((0, 0, 1))  # now, or a moment ago
                    order = msgspec.structs.replace(order, expected_log_length=seen)
                self._history.count(f"operator {order.resolution.name}")
                await self._once(Order(view.saga_id, order))

    def _decision(self, saga_id: str, node: saga_pb2.NodeView, *, commits: bool) -> Resolve | None:
        key = (saga_id, node.name)
        row = self._world.row(key)
        if node.status == saga_pb2.NODE_STATUS_UNDO_FAILED:
            if self._chance.random() < 0.5:
                return Resolve(node.name, Resolution.RETRY, "operator", "again")
            self._world.undo(key)
            return Resolve(node.name, Resolution.MARK_UNDONE, "operator", "done by hand")
        if node.status == saga_pb2.NODE_STATUS_HELD:
            if commits and not row.closed and self._chance.random() < 0.3:
                self._world.act(key)  # by hand: there is no way back, and trying again may never help
            if row.applied and not row.closed and self._chance.random() < 0.5:
                output = payload_from(payload_pb2.Payload(json=row.output))
                return Resolve(node.name, Resolution.SUPPLY_OUTPUT, "operator", "it is there", output)
            if not commits and not row.applied and self._chance.random() < 0.3:
                self._world.undo(key)  # and sees to it that it never will be
                return Resolve(node.name, Resolution.MARK_FAILED, "operator", "it is not there")
            return Resolve(node.name, Resolution.RETRY, "operator", "again")
        return None

    async def _once(self, order: Order) -> None:
        asked = self._history.sim.now
        try:
            view = await self._caller.unary(self._any_sec(), "Order", order, WAIT_SECONDS)
        except CallFailed:
            return
        self._history.obeyed(order.saga_id, order.given)
        self._see("operator", view, asked)


def stops(limit: admin_service_pb2.Limit) -> bool:
    """True of a limit that lets nothing start."""
    return (limit.HasField("max_in_flight") and not limit.max_in_flight) or (
        limit.HasField("max_running") and not limit.max_running
    )


def may_commit(graph: saga_pb2.Graph) -> bool:
    """True of a graph with a node after which there is no way back."""
    for node in graph.nodes:
        action = node.map.action if node.WhichOneof("kind") == "map" else node.action
        forward = action.undo.irreversible == saga_pb2.IRREVERSIBLE_POLICY_FORWARD_ONLY
        inner = node.map.subsaga.graph if node.WhichOneof("kind") == "map" else node.subsaga.graph
        if action.pivot or forward or (inner.nodes and may_commit(inner)):
            return True
    return False
