"""A SagaService whose sagas end at once, and whose streams break as a test wants them to."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from sagaline.v1 import payload_pb2, saga_pb2, saga_service_pb2
from tests.unit.client.samples import RUNNING, SUCCEEDED, entry
from tests.unit.client.serving import SAGA_SERVICE, handlers


@dataclass
class Breaks:
    """How a stream ends before its time."""

    after_frames: int
    code: grpc.StatusCode | None = grpc.StatusCode.UNAVAILABLE
    """None: it ends as if all were well."""


@dataclass
class FakeSagas:
    """Sagas that end at once."""

    log_length: int = 10
    entries_per_frame: int = 2
    breaks: deque[Breaks] = field(default_factory=deque)
    """One for each stream, in order; those beyond are whole."""
    repeated_entries: int = 0
    """How many entries a stream sends again that it was not asked for."""
    unary_failures: deque[grpc.StatusCode] = field(default_factory=deque)
    never_ends: bool = False
    never_answers: bool = False

    created: dict[str, saga_pb2.SagaSpec] = field(default_factory=dict)
    requests: list[Any] = field(default_factory=list)
    most_outstanding: int = 0
    streams_cancelled: int = 0
    stream_gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def CreateSaga(self, request: Any, context: Any) -> saga_service_pb2.CreateSagaResponse:
        self.requests.append(request)
        existed = request.saga.saga_id in self.created
        self.created[request.saga.saga_id] = request.saga
        if self.never_answers:
            await asyncio.Event().wait()
        if self.unary_failures:
            await context.abort(self.unary_failures.popleft(), "lost")
        return saga_service_pb2.CreateSagaResponse(saga=self._saga(request.saga.saga_id), existed=existed)

    async def RunSaga(self, request: Any, context: Any) -> saga_service_pb2.RunSagaResponse:
        created = await self.CreateSaga(request, context)
        return saga_service_pb2.RunSagaResponse(saga=created.saga, existed=created.existed)

    async def WaitSaga(self, request: Any, context: Any) -> saga_service_pb2.WaitSagaResponse:
        return saga_service_pb2.WaitSagaResponse(saga=self._saga(request.saga_id))

    def _saga(self, saga_id: str) -> saga_pb2.Saga:
        return saga_pb2.Saga(saga_id=saga_id, state=SUCCEEDED, output=output_of(saga_id))

    async def WatchSaga(self, request: Any, context: Any) -> AsyncIterator[saga_service_pb2.WatchSagaResponse]:
        self.requests.append(request)
        breaks = self.breaks.popleft() if self.breaks else Breaks(10_000)
        first = max(1, request.from_seq - self.repeated_entries)
        try:
            for index, start in enumerate(range(first, self.log_length + 1, self.entries_per_frame)):
                if index == breaks.after_frames:
                    await self._break(breaks, context)
                    return
                stop = min(start + self.entries_per_frame, self.log_length + 1)
                state = SUCCEEDED if stop > self.log_length and not self.never_ends else RUNNING
                yield saga_service_pb2.WatchSagaResponse(entries=map(entry, range(start, stop)), state=state)
            if self.never_ends:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.streams_cancelled += 1
            self.stream_gone.set()
            raise

    async def _break(self, breaks: Breaks, context: Any) -> None:
        if breaks.code is not None:
            await context.abort(breaks.code, "broken")

    async def RunSagas(
        self, requests: AsyncIterator[saga_service_pb2.RunSagasRequest], context: Any
    ) -> AsyncIterator[saga_service_pb2.RunSagasResponse]:
        breaks = self.breaks.popleft() if self.breaks else Breaks(10_000_000)
        frames = 0
        graphs: dict[str, saga_pb2.Graph] = {}
        try:
            async for request in requests:
                for response in self._run(request, graphs):
                    if frames == breaks.after_frames:
                        await self._break(breaks, context)
                        return
                    frames += 1
                    yield response
        finally:
            self.stream_gone.set()

    def _run(
        self, request: saga_service_pb2.RunSagasRequest, graphs: dict[str, saga_pb2.Graph]
    ) -> list[saga_service_pb2.RunSagasResponse]:
        graphs.update(request.graphs)
        self.most_outstanding = max(self.most_outstanding, len(request.sagas) + len(request.follow_ids))
        results = []
        for spec in request.sagas:
            assert graphs[spec.graph_key].name == "trip"
            results.append(saga_service_pb2.CreateResult(saga_id=spec.saga_id, existed=spec.saga_id in self.created))
            self.created[spec.saga_id] = spec
        ended = [*request.follow_ids, *(spec.saga_id for spec in request.sagas)]
        middle = len(ended) // 2
        return [
            saga_service_pb2.RunSagasResponse(results=results),
            saga_service_pb2.RunSagasResponse(ends=map(_end, reversed(ended[middle:]))),
            saga_service_pb2.RunSagasResponse(ends=map(_end, ended[:middle])),
        ]


def _end(saga_id: str) -> saga_service_pb2.SagaEnd:
    return saga_service_pb2.SagaEnd(saga_id=saga_id, state=SUCCEEDED, output=output_of(saga_id))


def output_of(saga_id: str) -> payload_pb2.Payload:
    return payload_pb2.Payload(json=f'{{"number":{int(saga_id)}}}' if saga_id.isdecimal() else '{"number":7}')


async def serve(sagas: FakeSagas, address: str = "127.0.0.1:0") -> tuple[grpc.aio.Server, str]:
    """Return a server of `sagas` and its address. The caller stops it."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(SAGA_SERVICE, sagas),))
    port = server.add_insecure_port(address)
    await server.start()
    return server, f"127.0.0.1:{port}"
