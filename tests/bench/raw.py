"""Limits of what Sagaline is built of, in the same run: commits, frames on a stream and Python, each alone."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc

from sagaline.v1 import saga_service_pb2
from sagaline_server.app.system import SystemClock
from sagaline_server.ports.store import Append, Claim, ListedSaga, NewSaga, SagaStore, Status
from sagaline_server.store.checks import BATCH_HEAD
from sagaline_server.store.etcd.options import EtcdOptions
from sagaline_server.store.etcd.store import EtcdStore
from sagaline_server.store.sqlite import SqliteStore
from tests.bench.line import Line
from tests.bench.options import Options
from tests.bench.shapes import TEXT
from tests.bench.stand import start_etcd
from tests.processes import free_port, running, start

WRITES = 256
"""In one commit: what gathers with 256 sagas in flight."""
RECORD_BYTES, BATCH_BYTES = 700, 400
FRAME_ITEMS = 64
FRAMES_IN_FLIGHT = 4
READY_SECONDS = 20.0
PYTHON_ROUNDS, PYTHON_CALLS = 5, 300_000
ECHO = "/bench.Echo/Echo"


async def raw_limits(options: Options) -> AsyncIterator[Line]:
    """Measure them, where anything is compared with them."""
    for store in options.stores:
        if options.wants(f"raw.commits.{store}"):
            yield await _commits(store, options.seconds)
    if options.wants("raw.frames"):
        yield await _frames(options.seconds)
    if options.wants("raw.python"):
        yield _python()


async def _commits(store: str, seconds: float) -> Line:
    with tempfile.TemporaryDirectory(prefix="sagaline-bench-") as scratch:
        folder = Path(scratch)
        if store == "sqlite":
            return await _commit_for(store, SqliteStore(folder / "sqlite"), seconds)
        endpoint, etcd = await start_etcd(folder / "etcd")
        async with running(etcd):
            used = etcd.cpu_seconds()
            line = await _commit_for(store, EtcdStore(EtcdOptions(endpoints=(endpoint,)), SystemClock()), seconds)
            line.details["etcd_cpu_us"] = round((etcd.cpu_seconds() - used) / line.details["writes"] * 1e6, 1)
            return line


async def _commit_for(name: str, store: SagaStore, seconds: float) -> Line:
    """Create sagas and append to them as sagas of three actions do: one creation, two appends, one end."""
    await store.open(sec_id="bench", address="", version="")
    began, used, writes = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds:
        writes += await _wave(store, f"{writes}")
    taken, cpu = time.perf_counter() - began, time.process_time() - used
    await store.close()
    about = {"writes": writes, "writes_in_commit": WRITES, "client_cpu_us": round(cpu / writes * 1e6, 1)}
    about["sagas_per_s"] = round(writes / 4 / taken)
    return Line(f"raw.commits.{name}", round(writes / taken), "writes/s", None, about)


async def _wave(store: SagaStore, wave: str) -> int:
    record, done = os.urandom(RECORD_BYTES), os.urandom(BATCH_BYTES)
    listed = ListedSaga("bench", 0.0)
    writer, batch = _signed()
    news = [NewSaga(f"{wave}-{i}", record, batch, listed, writer) for i in range(WRITES)]
    claims: list[Claim] = []
    for result in await store.commit(news):
        assert result.claim is not None, result
        claims.append(result.claim)
    for seq, end in ((3, None), (5, None), (7, done)):
        writer, batch = _signed()
        results = await store.commit([Append(claim, seq, batch, writer, (), end) for claim in claims])
        assert all(result.status is Status.DONE for result in results)
    return WRITES * 4


def _signed() -> tuple[bytes, bytes]:
    """Return a new writer id, and a batch that carries it."""
    writer = os.urandom(16)
    return writer, BATCH_HEAD + writer + os.urandom(BATCH_BYTES)


async def _frames(seconds: float) -> Line:
    address = f"127.0.0.1:{free_port()}"
    server = await start("echo", sys.executable, "-m", "tests.bench.raw", address)
    async with running(server), grpc.aio.insecure_channel(address) as channel:
        await asyncio.wait_for(channel.channel_ready(), READY_SECONDS)
        began, used, served = time.perf_counter(), time.process_time(), server.cpu_seconds()
        frames = await _exchange(channel, began + seconds)
        taken, cpu = time.perf_counter() - began, time.process_time() - used
        items = frames * FRAME_ITEMS
        about = {
            "items_in_frame": FRAME_ITEMS,
            "client_cpu_us": round(cpu / items * 1e6, 1),
            "server_cpu_us": round((server.cpu_seconds() - served) / items * 1e6, 1),
        }
        return Line("raw.frames", round(items / taken), "items/s", None, about)


class _Ledger:
    """Stands for what a SEC does all day: calls, looks at fields, entries of dicts, small objects."""

    __slots__ = ("_book", "_limit")

    def __init__(self) -> None:
        self._book: dict[int, tuple[int, int]] = {}
        self._limit = 512

    def put(self, number: int) -> int | None:
        self._book[number % 1024] = (number, self._limit)
        return self._look(number) if number % 3 else None

    def _look(self, number: int) -> int:
        first, limit = self._book[number % 1024]
        return max(first, limit)


def _python() -> Line:
    """Measure the interpreter alone: builds of one version differ by a half."""
    rounds = []
    for _ in range(PYTHON_ROUNDS):
        ledger, used = _Ledger(), time.process_time()
        for number in range(PYTHON_CALLS):
            ledger.put(number)
        rounds.append((time.process_time() - used) / PYTHON_CALLS * 1e9)
    return Line("raw.python", round(min(rounds)), "ns/call", None, {"python": sys.version})


async def _exchange(channel: grpc.aio.Channel, until: float) -> int:
    """Send frames and read their answers for a while; returns how many."""
    room = asyncio.Semaphore(FRAMES_IN_FLIGHT)

    async def frames() -> AsyncIterator[saga_service_pb2.RunSagasRequest]:
        while time.perf_counter() < until:
            await room.acquire()
            frame = saga_service_pb2.RunSagasRequest()
            for number in range(FRAME_ITEMS):
                frame.sagas.add(saga_id=f"saga-{number}", graph_key="g").params.json = TEXT
            yield frame

    call = channel.stream_stream(
        ECHO,
        request_serializer=saga_service_pb2.RunSagasRequest.SerializeToString,
        response_deserializer=saga_service_pb2.RunSagasResponse.FromString,
    )
    count = 0
    async for answer in call(frames()):
        assert len(answer.ends) == FRAME_ITEMS
        count += 1
        room.release()
    return count


async def _echo(
    requests: AsyncIterator[saga_service_pb2.RunSagasRequest], _context: object
) -> AsyncIterator[saga_service_pb2.RunSagasResponse]:
    """Answer each item of a frame."""
    async for request in requests:
        answer = saga_service_pb2.RunSagasResponse()
        for spec in request.sagas:
            answer.ends.add(saga_id=spec.saga_id).output.json = spec.params.json
        yield answer


async def _serve(address: str) -> None:
    server = grpc.aio.server()
    handler = grpc.stream_stream_rpc_method_handler(
        _echo,
        request_deserializer=saga_service_pb2.RunSagasRequest.FromString,
        response_serializer=saga_service_pb2.RunSagasResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Echo", {"Echo": handler}),))
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


if __name__ == "__main__":
    asyncio.run(_serve(sys.argv[1]))
