"""What operators are told of backups of SQLite holds: made while a SEC writes, a copy is whole, and its sagas go on."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from sagaline import GraphBuilder, Worker, action
from sagaline.client import Client
from tests.integration.secs import ANY_PORT, SECONDS, SERVER, started


@action("backup.greet")
async def greet(name: str) -> str:
    return f"hello {name}"


@greet.undo
async def forget(name: str) -> None: ...


def back_up(data: Path, to: Path) -> None:
    """Do what `sqlite3 sagaline.db ".backup FILE"` does."""
    to.mkdir()
    with closing(sqlite3.connect(data / "sagaline.db")) as source, closing(sqlite3.connect(to / "sagaline.db")) as copy:
        source.backup(copy)


async def test_sagas_of_a_copy_go_on(tmp_path: Path) -> None:
    g = GraphBuilder("greeting", params=str)
    graph = g.build(result=g.add("greet", greet, g.params))
    command = (*SERVER, "--listen", ANY_PORT, "--data-dir")
    async with started(*command, str(tmp_path / "data")) as sec, Client(await sec.address()) as client:
        await client.create(graph, "Ann", saga_id="s")
        back_up(tmp_path / "data", tmp_path / "restored")
        await client.create(graph, "Bob", saga_id="later")
    async with started(*command, str(tmp_path / "restored")) as sec:
        address = await sec.address()
        worker = Worker(address, actions=[greet])
        running = asyncio.create_task(worker.run(handle_signals=False))
        try:
            async with Client(address) as client:
                assert (await client.wait("s", wait_s=SECONDS)).output.json == '"hello Ann"'
                assert [saga.saga_id async for saga in client.list()] == ["s"]
        finally:
            worker.drain(timedelta(0))
            await running
