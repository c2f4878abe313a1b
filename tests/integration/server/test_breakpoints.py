"""A breakpoint on an action in a real SEC with a real worker: it holds all sagas, is told, and outlives the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sagaline import GraphBuilder, Worker, action
from sagaline.client import Client
from sagaline.graph import Graph
from sagaline.v1 import admin_service_pb2, saga_pb2
from tests.integration.secs import ANY_PORT, CLI, SERVER, run, started

SECONDS = 60.0


@action("breakpoints.charge")
async def charge(card: str) -> str:
    return f"{card} is charged"


@charge.undo
async def refund(card: str) -> None:
    """Nothing is kept."""


def order() -> Graph[str, str]:
    graph = GraphBuilder("order", params=str)
    return graph.build(result=graph.add("pay", charge, graph.params))


async def sagaline(*arguments: str) -> str:
    code, out, problem = await run(*CLI, *arguments, seconds=SECONDS)
    assert code == 0, problem
    return out


async def test_a_breakpoint_holds_and_outlives_the_sec(tmp_path: Path) -> None:
    server = (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"))
    async with started(*server) as sec, Client(await sec.address()) as client:
        await client.set_action_breakpoint("breakpoints.charge", actor="ann", reason="the bank is down")
        await client.create(order(), "1", saga_id="s1")
    async with started(*server) as sec, Client(await sec.address()) as client:
        address = await sec.address()
        worker = Worker(address, actions=[charge])
        running = asyncio.create_task(worker.run(handle_signals=False))
        await client.create(order(), "2", saga_id="s2")
        for saga_id in ("s1", "s2"):
            (wait,) = (await client.explain(saga_id)).waits
            assert wait.reason == admin_service_pb2.WAIT_REASON_GATE
        told = await sagaline("why", "s1", "--address", address)
        assert "a breakpoint on the action breakpoints.charge, set by ann: the bank is down" in told
        async with asyncio.timeout(3 * SECONDS):
            await client.step("s1", actor="ann", reason="one to see")
            assert (await client.wait("s1")).state == saga_pb2.SAGA_STATE_SUCCEEDED
            assert (await client.explain("s2")).waits[0].reason == admin_service_pb2.WAIT_REASON_GATE
            assert "the bank is down" in await sagaline("admin", "break", "list", "--address", address)
            await sagaline("admin", "break", "clear", "breakpoints.charge", "--address", address)
            assert (await client.wait("s2")).state == saga_pb2.SAGA_STATE_SUCCEEDED
        assert not await client.action_breakpoints()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
