"""A breakpoint on an action over two SECs on a real etcd: one sets it, the other holds what it owns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from sagaline.client import Client
from sagaline.v1 import admin_service_pb2
from tests.etcd_server import etcd_server
from tests.failover.orders.test_orders import SECONDS, one, secs

__all__ = ["etcd_server", "secs"]

GATE, NO_WORKER = admin_service_pb2.WAIT_REASON_GATE, admin_service_pb2.WAIT_REASON_NO_WORKER
ACTION = one().build().to_proto().nodes[0].action.action
pytestmark = pytest.mark.etcd


async def until(client: Client, saga_id: str, holds: Callable[[int], bool]) -> None:
    """Ask why a saga waits until the answer is the one; a SEC hears of a breakpoint by its watch."""
    async with asyncio.timeout(SECONDS):
        while True:
            waits = (await client.explain(saga_id)).waits  # none while it is on its way to another owner
            if waits and holds(waits[0].reason):
                return
            await asyncio.sleep(0.05)


async def test_every_owner_holds_the_action_and_goes_on_when_it_is_cleared(secs: list[str]) -> None:
    """Rule 15: it holds over the whole cluster, whoever owns the saga, before and after a hand-off."""
    async with Client(secs[0]) as first, Client(secs[1]) as second:
        await second.create(one().build(), "x", saga_id="theirs")
        await first.set_action_breakpoint(ACTION, actor="ann", reason="a look")
        await until(second, "theirs", lambda reason: reason == GATE)
        (wait,) = (await second.explain("theirs")).waits
        assert wait.message.endswith(f"a breakpoint on the action {ACTION}, set by ann: a look")
        await second.hand_off("theirs", to_sec_id="sec-1")
        await until(first, "theirs", lambda reason: reason == GATE)
        await second.step("theirs", actor="ann", reason="one")
        await until(first, "theirs", lambda reason: reason == NO_WORKER)
        await second.create(one().build(), "x", saga_id="new")
        await until(second, "new", lambda reason: reason == GATE)
        assert [point.action for point in await second.action_breakpoints()] == [ACTION]
        await second.clear_action_breakpoint(ACTION)
        for client, name in ((first, "theirs"), (second, "new")):
            await until(client, name, lambda reason: reason == NO_WORKER)
