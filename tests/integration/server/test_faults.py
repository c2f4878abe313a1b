"""Faults to order, and quarantine, in a real SEC with a real worker."""

from __future__ import annotations

import asyncio
import socket
from datetime import timedelta
from pathlib import Path

import pytest

from sagaline import GraphBuilder, Worker, action, errors
from sagaline.client import Client
from sagaline.graph import Graph
from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.runtime.crashpoints import EXIT_CODE
from tests.integration.secs import SERVER, started

paid: list[int] = []


@action("faults.pay")
async def pay(card: str) -> str:
    paid.append(1)
    return f"receipt of {card}"


@pay.undo
async def refund(card: str) -> None:
    """Nothing was paid."""


def trip() -> Graph[str, str]:
    graph = GraphBuilder("trip", params=str)
    return graph.build(result=graph.add("pay", pay, graph.params))


def server(tmp_path: Path, port: int, *more: str) -> tuple[str, ...]:
    return (*SERVER, "--listen", f"127.0.0.1:{port}", "--data-dir", str(tmp_path / "data"), *more)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def test_a_crash_before_the_result_is_logged_loses_nothing(tmp_path: Path) -> None:
    """The SEC dies once; the worker still has the result, and the next life of the SEC logs it."""
    port = free_port()
    allowed = server(tmp_path, port, "--fault-injection", "true")
    paid.clear()
    worker = Worker(f"127.0.0.1:{port}", actions=[pay])
    async with started(*allowed) as sec:
        async with Client(await sec.address()) as client:
            await client.create(trip(), "card", saga_id="s", start_paused=True)
            fault = log_pb2.FAULT_KIND_CRASH_BEFORE_RESULT
            await client.inject_fault("s", "pay", fault, actor="ann", reason="test")
            running = asyncio.create_task(worker.run(handle_signals=False))
            await client.resume("s")
        assert await sec.ended() == EXIT_CODE
    async with started(*allowed) as sec:
        async with Client(await sec.address()) as client:
            saga = await client.wait("s")
            kinds = [entry.WhichOneof("entry") async for entry in client.watch("s")]
        worker.drain(timedelta(0))
        await running
    assert saga.state == saga_pb2.SAGA_STATE_SUCCEEDED
    assert kinds.count("fault_struck") == kinds.count("attempt_started") == len(paid) == 1


async def test_faults_are_refused_where_the_settings_do_not_allow_them(tmp_path: Path) -> None:
    async with started(*server(tmp_path, 0)) as sec, Client(await sec.address()) as client:
        await client.create(trip(), "card", saga_id="s")
        with pytest.raises(errors.NotAllowedNow, match="fault_injection"):
            await client.inject_fault("s", "pay", log_pb2.FAULT_KIND_REPEAT)


async def test_a_saga_is_set_aside_and_released(tmp_path: Path) -> None:
    async with started(*server(tmp_path, 0)) as sec:
        async with Client(await sec.address()) as client:
            await client.create(trip(), "card", saga_id="s")
            view = await client.quarantine("s", actor="ann", reason="looks odd")
            assert (view.state, view.needs_operator) == (saga_pb2.SAGA_STATE_QUARANTINED, True)
            worker = Worker(await sec.address(), actions=[pay])
            running = asyncio.create_task(worker.run(handle_signals=False))
            (wait,) = (await client.explain("s")).waits
            assert "set aside: looks odd" in wait.message
            await client.release("s", actor="ann", reason="it is not")
            assert (await client.wait("s")).state == saga_pb2.SAGA_STATE_SUCCEEDED
        worker.drain(timedelta(0))
        await running
