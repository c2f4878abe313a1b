"""Limits in a real SEC with a real worker: they hold, they are told, and they outlive the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

from sagaline import GraphBuilder, Worker, action
from sagaline.client import Client
from sagaline.graph import Graph
from sagaline.v1 import admin_service_pb2, saga_pb2
from tests.integration.secs import ANY_PORT, SERVER, started

SECONDS = 30.0


class Desk:
    """Counts who is at it at once."""

    def __init__(self) -> None:
        self.now = self.most = 0


desk = Desk()


@action("limits.book")
async def book(room: str) -> str:
    desk.now += 1
    desk.most = max(desk.most, desk.now)
    for _ in range(20):
        await asyncio.sleep(0)  # lets the others come, if they may
    desk.now -= 1
    return f"{room} is booked"


@book.undo
async def leave(room: str) -> None:
    """No room is kept."""


def trip() -> Graph[str, str]:
    graph = GraphBuilder("trip", params=str)
    return graph.build(result=graph.add("book", book, graph.params))


async def test_a_limit_holds_and_outlives_the_sec(tmp_path: Path) -> None:
    server = (*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data"))
    async with started(*server) as sec, Client(await sec.address()) as client:
        await client.set_action_limit("limits.book", max_in_flight=0)
        await client.create(trip(), "1", saga_id="s1", scopes=["hotel"])
        (wait,) = (await client.explain("s1")).waits
        assert wait.reason == admin_service_pb2.WAIT_REASON_LIMIT
    async with started(*server) as sec, Client(await sec.address()) as client:
        assert [limit.action for limit in await client.limits()] == ["limits.book"]
        await client.set_scope_limit("hotel", max_running=1)
        worker = Worker(await sec.address(), actions=[book])
        running = asyncio.create_task(worker.run(handle_signals=False))
        for number in range(2, 10):
            await client.create(trip(), str(number), saga_id=f"s{number}")
        await client.create(trip(), "10", saga_id="s10", scopes=["hotel"])
        assert {(await client.explain(f"s{number}")).waits[0].reason for number in range(1, 10)} == {
            admin_service_pb2.WAIT_REASON_LIMIT
        }
        desk.most = 0
        await client.set_action_limit("limits.book", max_in_flight=2)
        async with asyncio.timeout(SECONDS):
            for number in range(1, 11):
                ended = await client.wait(f"s{number}")
                assert ended.state == saga_pb2.SAGA_STATE_SUCCEEDED
        assert desk.most == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
