"""A dump of a real saga holds all there is of it: it replays offline, whatever the saga was created with."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from google.protobuf import json_format

from sagaline import Failed, GraphBuilder, Worker, action
from sagaline.client import Client
from sagaline.graph import Graph
from sagaline.v1 import log_pb2, saga_pb2
from tests.integration.secs import ANY_PORT, CLI, SERVER, run, started


@action("dump.pay")
async def pay(card: str) -> str:
    return f"receipt of {card}"


@pay.undo
async def refund(card: str) -> None:
    """Nothing was paid."""


@action("dump.book")
async def book(receipt: str) -> str:
    raise Failed("SoldOut", "no room left")


@book.undo
async def unbook(receipt: str) -> None:
    """Nothing was booked."""


def trip() -> Graph[str, str]:
    graph = GraphBuilder("trip", params=str)
    receipt = graph.add("pay", pay, graph.params)
    return graph.build(result=graph.add("book", book, receipt))


@pytest.fixture
async def address(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a SEC with a worker."""
    async with started(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data")) as sec:
        address = await sec.address()
        worker = Worker(address, actions=[pay, book])
        running = asyncio.create_task(worker.run(handle_signals=False))
        yield address
        worker.drain(timedelta(0))
        await running


async def test_a_dump_replays_to_what_the_saga_is(address: str, tmp_path: Path) -> None:
    async with Client(address) as client:
        created = await client.create(
            trip(),
            "card-1",
            saga_id="s-1",
            deadline=timedelta(hours=1),
            labels={"team": "a", "env": "test"},
            scopes=["rack/17"],
            trace_context={"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
        )
        await client.wait("s-1")
        saga = await client.get("s-1")
        record = await client.record("s-1")
    file = tmp_path / "saga.jsonl"
    code, _, said = await run(*CLI, "dump", "s-1", str(file), "--address", address)
    assert (code, said) == (0, f"{saga.log_length} entries\n")
    first = json.loads(file.read_text().splitlines()[0])
    assert json_format.ParseDict(first["record"], log_pb2.SagaRecord()) == record
    assert record.spec == created.new.full_spec()
    code, out, said = await run(*CLI, "replay", str(file), "-o", "json")
    assert (code, said) == (0, "")
    replayed = json_format.Parse(out, saga_pb2.Saga())
    assert (replayed.state, replayed.failed_node) == (saga_pb2.SAGA_STATE_UNWOUND, "book")
    assert replayed == saga
