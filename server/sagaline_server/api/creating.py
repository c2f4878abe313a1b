"""CreateSaga and CreateSagas."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagaline.v1 import saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.batches import (
    SPECS_A_SLICE,
    Outcome,
    check_keys,
    prepare,
    prepare_graphs,
    refused_outcome,
    result_of,
    shorten,
)
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import refuse
from sagaline_server.api.reading import RESPONSE_BYTES
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.runtime.requests import CreateFate, Creation, NotServing, Overloaded, RuntimeRefusal

GRAPHS_A_BATCH = 100


async def create_saga(
    runtime: SagaRuntime, maker: CreationMaker, request: saga_service_pb2.CreateSagaRequest
) -> saga_service_pb2.CreateSagaResponse:
    """Create one saga."""
    refuse(checks.required(request.HasField("saga"), "saga", "a saga"))
    creation = maker.make(request.saga, maker.moment())
    saga_id = creation.spec.saga_id
    (fate,) = await runtime.create([creation])
    if fate not in (CreateFate.CREATED, CreateFate.EXISTED):
        raise refused_outcome(saga_id, fate)
    view = await runtime.get(saga_id, full=False)
    return saga_service_pb2.CreateSagaResponse(saga=view, existed=fate is CreateFate.EXISTED)


async def create_sagas(
    runtime: SagaRuntime, maker: CreationMaker, request: saga_service_pb2.CreateSagasRequest
) -> saga_service_pb2.CreateSagasResponse:
    """Create many sagas, each on its own."""
    refuse(
        checks.required(bool(request.sagas), "sagas", "at least one saga")
        + checks.at_most_items(len(request.sagas), limits.CREATE_BATCH, "sagas")
        + checks.at_most_items(len(request.graphs), GRAPHS_A_BATCH, "graphs")
        + check_keys(request.graphs)
    )
    known = await prepare_graphs(request.graphs, maker)
    prepared = await prepare(request.sagas, maker, known)
    made = await runtime.create([each for each in prepared if isinstance(each, Creation)])
    if made and isinstance(made[0], RuntimeRefusal) and all(isinstance(fate, NotServing | Overloaded) for fate in made):
        # Nothing was created: the whole call is to be repeated, which is easier for a client.
        raise made[0]
    fates = iter(made)
    results = []
    for each in prepared:
        saga_id = each.spec.saga_id if isinstance(each, Creation) else each[0]
        outcome: Outcome = next(fates) if isinstance(each, Creation) else each[1]
        results.append(result_of(saga_id, outcome))
    shorten(results)
    if request.with_sagas:
        await _add_sagas(runtime, results)
    return saga_service_pb2.CreateSagasResponse(results=results)


async def _add_sagas(runtime: SagaRuntime, results: Sequence[saga_service_pb2.CreateResult]) -> None:
    """Add the BASIC views of those that are there, as long as the response stays small enough for gRPC clients."""
    size = sum(result.ByteSize() for result in results)
    for number, result in enumerate(results, 1):
        if result.HasField("error"):
            continue
        saga = await runtime.get(result.saga_id, full=False)
        size += saga.ByteSize()
        if size > RESPONSE_BYTES:
            return
        result.saga.CopyFrom(saga)
        if number % SPECS_A_SLICE == 0:
            await asyncio.sleep(0)
