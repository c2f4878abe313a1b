"""Sagas to store: encoded as the runtime encodes them."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from sagaline.v1 import log_pb2, saga_pb2
from sagaline_server.ports.store import (
    Append,
    Claim,
    ListedSaga,
    NewSaga,
    OwnedSaga,
    SagaStore,
    Status,
    StoreError,
    Write,
    WriteResult,
)

T = TypeVar("T")


def record(saga_id: str, graph: str = "trip", filler: int = 0) -> bytes:
    spec = saga_pb2.SagaSpec(saga_id=saga_id, graph=saga_pb2.Graph(name=graph))
    spec.labels["filler"] = "x" * filler
    return log_pb2.SagaRecord(spec=spec).SerializeToString()


def batch(writer_id: bytes, first_seq: int, *, filler: int = 0, entries: int = 1) -> bytes:
    entry = log_pb2.LogEntry()
    entry.attempt_started.node = "pay"
    entry.attempt_started.worker_id = "w" * filler
    return log_pb2.LogBatch(writer_id=writer_id, first_seq=first_seq, entries=[entry] * entries).SerializeToString()


def done(saga_id: str) -> bytes:
    saga = saga_pb2.Saga(saga_id=saga_id, state=saga_pb2.SAGA_STATE_SUCCEEDED)
    return log_pb2.DoneRecord(saga=saga).SerializeToString()


def new_saga(saga_id: str, graph: str = "trip", *, filler: int = 0) -> NewSaga:
    writer_id = uuid.uuid4().bytes
    return NewSaga(
        saga_id=saga_id,
        record=record(saga_id, graph, filler),
        batch=batch(writer_id, 1),
        listed=ListedSaga(graph_name=graph, create_time=1_700_000_000.0),
        writer_id=writer_id,
    )


def append(claim: Claim, first_seq: int, *, filler: int = 0, entries: int = 1) -> Append:
    writer_id = uuid.uuid4().bytes
    return Append(claim, first_seq, batch(writer_id, first_seq, filler=filler, entries=entries), writer_id)


def consume(claim: Claim, *control_ids: str) -> Append:
    """Return a write that consumes requests and logs nothing."""
    return Append(claim, 1, b"", uuid.uuid4().bytes, consumes=control_ids)


def finish(claim: Claim, first_seq: int) -> Append:
    writer_id = uuid.uuid4().bytes
    return Append(claim, first_seq, batch(writer_id, first_seq), writer_id, done=done(claim.saga_id))


async def write(store: SagaStore, one: Write) -> WriteResult:
    """Commit one write."""
    (result,) = await store.commit([one])
    return result


async def settled(store: SagaStore, writes: Sequence[Write]) -> list[WriteResult]:
    """Send writes again until the outcome of each is known. A store that is away takes its time to say so."""
    results: dict[int, WriteResult] = {}
    async with asyncio.timeout(30):
        while pending := [index for index in range(len(writes)) if index not in results]:
            outcomes = await store.commit([writes[index] for index in pending])
            known = zip(pending, outcomes, strict=True)
            results.update({index: result for index, result in known if result.status is not Status.UNKNOWN})
    return [results[index] for index in range(len(writes))]


async def insist(call: Callable[[], Awaitable[T]]) -> T:
    """Call again what a broken connection may still get in the way of, until it is answered."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except StoreError:
                await asyncio.sleep(0)


async def write_all(store: SagaStore, writes: Sequence[Write]) -> None:
    """Commit writes that must all be done."""
    results = await store.commit(writes)
    assert [result.status for result in results] == [Status.DONE] * len(writes)


async def create(store: SagaStore, saga_id: str, graph: str = "trip") -> Claim:
    result = await write(store, new_saga(saga_id, graph))
    assert result.status is Status.DONE
    assert result.claim is not None
    return result.claim


async def create_many(store: SagaStore, saga_ids: Sequence[str], graph: str = "trip") -> list[Claim]:
    results = await store.commit([new_saga(saga_id, graph) for saga_id in saga_ids])
    claims = [result.claim for result in results if result.claim is not None]
    assert len(claims) == len(saga_ids)
    return claims


async def adopted(store: SagaStore, saga_id: str) -> Claim:
    """Claim a saga whose owner is dead."""
    (claim,) = await store.adopt([await owned(store, saga_id)])
    assert claim is not None
    return claim


async def owned(store: SagaStore, saga_id: str) -> OwnedSaga:
    """Return the owner of an unfinished saga."""
    saga = await store.read(saga_id)
    assert saga is not None
    assert saga.owner is not None
    return saga.owner


async def batches(store: SagaStore, saga_id: str) -> list[bytes]:
    saga = await store.read(saga_id)
    assert saga is not None
    return list(saga.batches)
