"""A closed loop of sagas over one RunSagas stream."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator

import grpc
import msgspec

from sagaline.v1 import saga_pb2, saga_service_pb2, saga_service_pb2_grpc

PAYLOAD_CHARS = 198
"""With its quotes a JSON text of 200 bytes."""


class Figures(msgspec.Struct):
    """What a run came to. Times in seconds."""

    sagas: int
    seconds: float
    latencies: list[float]

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the latencies in milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000


def linear(nodes: int) -> saga_pb2.Graph:
    """Return a graph of actions in a row, each taking the output of the one before."""
    graph = saga_pb2.Graph(name=f"linear{nodes}")
    for i in range(nodes):
        node = graph.nodes.add(name=f"n{i}")
        node.action.action = "bench.pass"
        source = node.action.inputs["value"]
        if i:
            source.node = f"n{i - 1}"
        else:
            source.params.SetInParent()
    return graph


class ClosedLoop:
    """Keeps a number of sagas in flight for a while."""

    def __init__(self, address: str, graph: saga_pb2.Graph, in_flight: int) -> None:
        """Make a loop; nothing is sent yet."""
        self._address = address
        self._graph = graph
        self._in_flight = in_flight
        self._started: dict[str, float] = {}
        self._free = 0
        self._wake = asyncio.Event()
        self._until = 0.0
        self._run = uuid.uuid4().hex[:12]
        self._count = 0
        self.latencies: list[float] = []
        self.failures: list[str] = []

    async def run(self, seconds: float) -> Figures:
        """Run for a time, wait for what is in flight, and return the figures."""
        self.latencies.clear()
        self._free = self._in_flight
        self._wake.set()
        began = time.perf_counter()
        self._until = began + seconds
        async with grpc.aio.insecure_channel(self._address) as channel:
            stream = saga_service_pb2_grpc.SagaServiceStub(channel).RunSagas(self._requests())
            async for frame in stream:
                self._take(frame)
        if self.failures:
            raise RuntimeError(f"{len(self.failures)} sagas went wrong; the first: {self.failures[0]}")
        return Figures(len(self.latencies), time.perf_counter() - began, list(self.latencies))

    async def _requests(self) -> AsyncIterator[saga_service_pb2.RunSagasRequest]:
        first = saga_service_pb2.RunSagasRequest()
        first.graphs["g"].CopyFrom(self._graph)
        yield first
        text = '"' + "x" * PAYLOAD_CHARS + '"'
        while time.perf_counter() < self._until:
            await self._wake.wait()
            self._wake.clear()
            frame = saga_service_pb2.RunSagasRequest()
            now = time.perf_counter()
            for _ in range(self._free):
                self._count += 1
                saga_id = f"{self._run}-{self._count}"
                spec = frame.sagas.add(saga_id=saga_id, graph_key="g")
                spec.params.json = text
                self._started[saga_id] = now
            self._free = 0
            yield frame

    def _take(self, frame: saga_service_pb2.RunSagasResponse) -> None:
        now = time.perf_counter()
        for result in frame.results:
            if result.HasField("error"):
                self.failures.append(result.error.message)
        for end in frame.ends:
            if end.state != saga_pb2.SAGA_STATE_SUCCEEDED:
                self.failures.append(str(end)[:200])
            self.latencies.append(now - self._started.pop(end.saga_id))
        self._free += len(frame.ends)
        if self._free:
            self._wake.set()
