"""Load: sagas in flight over one RunSagas stream, in a closed or an open loop, or by a call for each."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Protocol

import grpc
import msgspec

from sagaline.client import Client
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc
from tests.bench.shapes import Shape

CREATED_PER_CALL = 1_000
OPEN_LOOP_TICK = 0.002
"""The open loop sends what has come due this often. Latencies count from when each was due, so it is in them."""


class Figures(msgspec.Struct):
    """What a run came to. Times in seconds."""

    sagas: int
    seconds: float
    latencies: list[float]

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the latencies in milliseconds."""
        return quantile_ms(self.latencies, share)


def quantile_ms(latencies: Sequence[float], share: float) -> float:
    """Return a quantile of times in milliseconds; 0 of none."""
    ordered = sorted(latencies)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


def histogram_ms(latencies: Sequence[float]) -> dict[str, float]:
    """Return what there is to know about latencies in milliseconds."""
    shares = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: round(quantile_ms(latencies, share), 2) for name, share in shares.items()}


async def pause(seconds: float) -> None:
    """Let time pass: the pace of a load is time."""
    passed = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(max(seconds, 0.0), passed.set_result, None)
    await passed


class Load(Protocol):
    """What keeps a SEC busy until it is told to stop."""

    shape: Shape
    ends: list[tuple[float, float]]
    """Of each saga that ended: when, and after how long."""

    async def run(self, seconds: float) -> Figures:
        """Start sagas for a time, wait for those that are in flight, and return the figures."""
        ...

    def stop(self) -> None:
        """Start no more."""
        ...


class StreamLoop:
    """What both loops over a RunSagas stream share."""

    def __init__(self, address: str, shape: Shape) -> None:
        self.shape = shape
        self.ends: list[tuple[float, float]] = []
        self._address = address
        self._started: dict[str, float] = {}
        self._wake = asyncio.Event()
        self._until = 0.0
        self._run = uuid.uuid4().hex[:12]
        self._numbers = itertools.count(1)
        self._failures: list[str] = []

    def stop(self) -> None:
        """Start no more sagas."""
        self._until = 0.0
        self._wake.set()

    async def run(self, seconds: float) -> Figures:
        """Start sagas for a time, wait for those that are in flight, and return the figures."""
        self.ends.clear()
        began = time.perf_counter()
        self._until = began + seconds
        async with grpc.aio.insecure_channel(self._address) as channel:
            stream = saga_service_pb2_grpc.SagaServiceStub(channel).RunSagas(self._requests())
            async for frame in stream:
                self._take(frame)
        if self._failures:
            raise RuntimeError(f"{len(self._failures)} sagas went wrong; the first: {self._failures[0]}")
        return Figures(len(self.ends), time.perf_counter() - began, [latency for _, latency in self.ends])

    async def _requests(self) -> AsyncIterator[saga_service_pb2.RunSagasRequest]:
        first = saga_service_pb2.RunSagasRequest()
        first.graphs["g"].CopyFrom(self.shape.graph)
        yield first
        while time.perf_counter() < self._until:
            due = await self._due()
            if due:
                yield self._frame(due)

    async def _due(self) -> Sequence[float]:
        """Wait until sagas are to be started; returns when each of them was due."""
        raise NotImplementedError

    def _frame(self, due: Sequence[float]) -> saga_service_pb2.RunSagasRequest:
        frame = saga_service_pb2.RunSagasRequest()
        for at in due:
            saga_id = f"{self._run}-{next(self._numbers)}"
            frame.sagas.add(saga_id=saga_id, graph_key="g").params.json = self.shape.params
            self._started[saga_id] = at
        return frame

    def _take(self, frame: saga_service_pb2.RunSagasResponse) -> None:
        now = time.perf_counter()
        wanted = saga_pb2.SAGA_STATE_UNWOUND if self.shape.unwinds else saga_pb2.SAGA_STATE_SUCCEEDED
        self._failures.extend(result.error.message for result in frame.results if result.HasField("error"))
        for end in frame.ends:
            if end.state != wanted:
                self._failures.append(str(end)[:200])
            self.ends.append((now, now - self._started.pop(end.saga_id)))
        self._ended(len(frame.ends))

    def _ended(self, sagas: int) -> None:
        """Hear that sagas have ended."""


class ClosedLoop(StreamLoop):
    """Keeps a number of sagas in flight: the next starts when one has ended."""

    def __init__(self, address: str, shape: Shape, in_flight: int) -> None:
        super().__init__(address, shape)
        self._in_flight = in_flight
        self._free = 0

    async def run(self, seconds: float) -> Figures:
        """Start sagas for a time, wait for those that are in flight, and return the figures."""
        self._free = self._in_flight
        self._wake.set()
        return await super().run(seconds)

    async def _due(self) -> Sequence[float]:
        await self._wake.wait()
        self._wake.clear()
        count, self._free = self._free, 0
        return [time.perf_counter()] * count

    def _ended(self, sagas: int) -> None:
        self._free += sagas
        if self._free:
            self._wake.set()


class OpenLoop(StreamLoop):
    """Starts sagas at random moments at a rate, however the ones before fare.

    A latency counts from the moment at which the saga was due, so a stall counts for every saga that it held up.
    """

    def __init__(self, address: str, shape: Shape, rate: float) -> None:
        super().__init__(address, shape)
        self._rate = rate
        self._random = random.Random(5)
        self._next = 0.0

    async def run(self, seconds: float) -> Figures:
        """Start sagas for a time, wait for those that are in flight, and return the figures."""
        self._next = time.perf_counter()
        return await super().run(seconds)

    async def _due(self) -> Sequence[float]:
        await pause(max(self._next - time.perf_counter(), OPEN_LOOP_TICK))
        due: list[float] = []
        while self._next <= time.perf_counter() and len(due) < CREATED_PER_CALL:
            due.append(self._next)
            self._next += self._random.expovariate(self._rate)
        return due


class CallLoop:
    """What both loops share in which as many callers as sagas are to be in flight run one after the other."""

    def __init__(self, address: str, shape: Shape, in_flight: int) -> None:
        self.shape = shape
        self.ends: list[tuple[float, float]] = []
        self._address = address
        self._in_flight = in_flight
        self._until = 0.0

    def stop(self) -> None:
        """Start no more sagas."""
        self._until = 0.0

    async def run(self, seconds: float) -> Figures:
        """Start sagas for a time, wait for those that are in flight, and return the figures."""
        self.ends.clear()
        began = time.perf_counter()
        self._until = began + seconds
        await self._call()
        return Figures(len(self.ends), time.perf_counter() - began, [latency for _, latency in self.ends])

    async def _call(self) -> None:
        """Let every caller run sagas until the time is over."""
        raise NotImplementedError

    async def _one_after_the_other(self, run: Callable[[], Awaitable[None]]) -> None:
        while time.perf_counter() < self._until:
            began = time.perf_counter()
            await run()
            now = time.perf_counter()
            self.ends.append((now, now - began))


class UnaryLoop(CallLoop):
    """Each caller runs a saga by one unary call, RunSaga."""

    async def _call(self) -> None:
        async with grpc.aio.insecure_channel(self._address) as channel, asyncio.TaskGroup() as group:
            stub = saga_service_pb2_grpc.SagaServiceStub(channel)
            request = saga_service_pb2.RunSagaRequest()
            request.saga.graph.CopyFrom(self.shape.graph)
            request.saga.params.json = self.shape.params

            async def run() -> None:
                ended = await stub.RunSaga(request)
                if ended.saga.state != saga_pb2.SAGA_STATE_SUCCEEDED:
                    raise RuntimeError(f"a saga went wrong: {str(ended.saga)[:200]}")

            for _ in range(self._in_flight):
                group.create_task(self._one_after_the_other(run))


class ClientLoop(CallLoop):
    """Each caller runs sagas by `Client.run`, as programs do; all share one client, which sends them together."""

    async def _call(self) -> None:
        graph: Graph[str, Any] = Graph(self.shape.graph, str, str, nodes=self.shape.calls, depth=0)
        text = json.loads(self.shape.params)
        async with Client(self._address) as client, asyncio.TaskGroup() as group:

            async def run() -> None:
                await client.run(graph, text)

            for _ in range(self._in_flight):
                group.create_task(self._one_after_the_other(run))


async def create(address: str, shape: Shape, count: int) -> list[str]:
    """Create sagas in batches and follow none of them; returns their ids."""
    ids: list[str] = []
    async with grpc.aio.insecure_channel(address) as channel:
        stub = saga_service_pb2_grpc.SagaServiceStub(channel)
        while len(ids) < count:
            request = saga_service_pb2.CreateSagasRequest()
            request.graphs["g"].CopyFrom(shape.graph)
            for _ in range(min(CREATED_PER_CALL, count - len(ids))):
                request.sagas.add(graph_key="g").params.json = shape.params
            results = (await stub.CreateSagas(request)).results
            failed = [result.error.message for result in results if result.HasField("error")]
            if failed:
                raise RuntimeError(f"{len(failed)} sagas were not created; the first: {failed[0]}")
            ids += [result.saga_id for result in results]
    return ids
