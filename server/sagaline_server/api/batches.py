"""Many specs of one request: each becomes a creation or a refusal, and each gets its result, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.api.creation import CreationMaker, KnownGraphs
from sagaline_server.api.errors import Refused, batch_error, refusal
from sagaline_server.api.graphs import BadGraph, PreparedGraph
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.runtime.requests import CreateFate, Creation, RuntimeRefusal

SPECS_A_SLICE = 100
"""Specs prepared before others get their turn: some milliseconds."""
ECHOED_ID_CHARS = 256
"""An id that is wrong is told back, unless it is longer than this."""
LISTED_BYTES = 1024 * 1024
"""Errors of one response that list all their problems; those beyond list their first one only."""

Prepared = Creation | tuple[str, Refused]
"""A creation, or the id of a spec that is refused and why."""
Outcome = CreateFate | RuntimeRefusal | Refused


async def prepare(specs: Iterable[saga_pb2.SagaSpec], maker: CreationMaker, known: KnownGraphs) -> list[Prepared]:
    """Return what the specs ask for, in order."""
    moment = maker.moment()
    prepared: list[Prepared] = []
    for spec in specs:
        given_id = spec.saga_id
        try:
            prepared.append(maker.make(spec, moment, known))
        except Refused as refused:
            prepared.append((given_id if len(given_id) <= ECHOED_ID_CHARS else "", refused))
        if len(prepared) % SPECS_A_SLICE == 0:
            await asyncio.sleep(0)
    return prepared


async def prepare_graphs(
    graphs: Mapping[str, saga_pb2.Graph], maker: CreationMaker
) -> dict[str, PreparedGraph | BadGraph]:
    """Return the graphs that came beside specs."""
    prepared = {}
    for key, graph in graphs.items():
        prepared[key] = maker.graphs.prepare(graph)
        await asyncio.sleep(0)
    return prepared


def check_keys(graphs: Iterable[str]) -> list[Problem]:
    """Check the keys of graphs that come beside specs."""
    return [
        Problem(f"graphs[{key[:32]}]", "BAD_GRAPH_KEY", f"a graph's key has 1 to {limits.LABEL_BYTES} bytes")
        for key in graphs
        if not 0 < len(key.encode()) <= limits.LABEL_BYTES
    ]


def result_of(saga_id: str, outcome: Outcome) -> saga_service_pb2.CreateResult:
    """Return what a client hears of one spec."""
    if outcome is CreateFate.CREATED:
        return saga_service_pb2.CreateResult(saga_id=saga_id)
    if outcome is CreateFate.EXISTED:
        return saga_service_pb2.CreateResult(saga_id=saga_id, existed=True)
    return saga_service_pb2.CreateResult(saga_id=saga_id, error=batch_error(refused_outcome(saga_id, outcome)))


def refused_outcome(saga_id: str, outcome: Outcome) -> Refused:
    """Return why a saga is not there, as it has no good fate."""
    match outcome:
        case Refused():
            return outcome
        case RuntimeRefusal():
            return refusal(outcome, saga_id)
        case _:
            return Refused("SAGA_ALREADY_EXISTS", subject=saga_id)


def shorten(results: Sequence[saga_service_pb2.CreateResult]) -> None:
    """Leave out problems where the errors of a response are too large together."""
    size = 0
    for result in results:
        if result.HasField("error"):
            size += result.ByteSize()
            if size > LISTED_BYTES:
                del result.error.problems[1:]
