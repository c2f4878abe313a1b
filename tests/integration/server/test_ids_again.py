"""The id of a removed saga is free again, also for workers that remember the saga that had it before."""

from __future__ import annotations

import asyncio
import signal
import socket
from datetime import timedelta
from pathlib import Path

from sagaline import GraphBuilder, Worker, action, errors
from sagaline.client import Client
from tests.integration.secs import SECONDS, SERVER, started


@action("again.greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@greet.undo
async def forget(name: str) -> None: ...


async def test_a_saga_runs_whose_id_another_had_that_changed_its_owner(tmp_path: Path) -> None:
    """Its epochs begin anew, and the worker has seen higher ones of that id."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
    command = (*SERVER, "--listen", address, "--data-dir", str(tmp_path / "data"))
    soon = (*command, "--remove-after", "0.1", "--retention-interval", "0.1")
    g = GraphBuilder("greeting", params=str)
    graph = g.build(result=g.add("greet", greet, g.params))
    worker = Worker(address, actions=[greet])
    running = asyncio.create_task(worker.run(handle_signals=False))
    try:
        async with Client(address, patience_s=SECONDS) as client:
            async with started(*command) as first:
                await first.address()
                await client.create(graph, "Ann", saga_id="s", start_paused=True)
                first.signal(signal.SIGKILL)
                await first.ended()
            async with started(*soon) as second:
                await second.address()
                assert (await client.get("s")).epoch == 2
                await client.resume("s")
                await gone(client)
                assert await client.run(graph, "Bob", saga_id="s", wait_s=SECONDS) == "hello Bob"
    finally:
        worker.drain(timedelta(0))
        await running


async def gone(client: Client) -> None:
    """Wait until the saga has been removed."""
    async with asyncio.timeout(2 * SECONDS):
        while True:
            try:
                await client.wait("s")
            except errors.SagaNotFound:
                return
