"""PauseSaga, ResumeSaga, UnwindSaga and ResolveNode: orders to a saga."""

from __future__ import annotations

from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import refusal, refuse
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core.decide import Resolve, SetPaused, Unwind
from sagaline_server.core.entries import Resolution
from sagaline_server.core.validate import Problem, check_payload, check_saga_id
from sagaline_server.runtime.requests import RequestRefused
from sagaline_server.wire.payloads import payload_from

_RESOLUTIONS = frozenset(int(resolution) for resolution in Resolution)


async def set_paused(
    runtime: SagaRuntime,
    request: saga_service_pb2.PauseSagaRequest | saga_service_pb2.ResumeSagaRequest,
    *,
    paused: bool,
) -> saga_pb2.Saga:
    """Hold a saga, or let it go on."""
    refuse(check_saga_id(request.saga_id) + checks.attribution(request.by))
    return await runtime.request(request.saga_id, SetPaused(paused, request.by.actor, request.by.reason))


async def unwind(runtime: SagaRuntime, request: saga_service_pb2.UnwindSagaRequest) -> saga_pb2.Saga:
    """Ask a saga to undo what it has done."""
    refuse(check_saga_id(request.saga_id) + checks.attribution(request.by))
    return await runtime.request(request.saga_id, Unwind(actor=request.by.actor, reason=request.by.reason))


async def resolve(runtime: SagaRuntime, request: saga_service_pb2.ResolveNodeRequest) -> saga_pb2.Saga:
    """Decide about a node."""
    problems = check_saga_id(request.saga_id)
    problems += checks.required(bool(request.node), "node", "a node")
    problems += checks.at_most_chars(request.node, checks.NODE_PATH_CHARS, "node")
    problems += _check_resolution(request.resolution)
    problems += checks.attribution(request.by)
    problems += checks.required(bool(request.by.actor), "by.actor", "who decides")
    problems += checks.required(bool(request.by.reason), "by.reason", "why")
    output = payload_from(request.output) if request.HasField("output") else None
    supplies = request.resolution == log_pb2.RESOLUTION_SUPPLY_OUTPUT
    if output is not None:
        problems += check_payload(output, "output")
        if not supplies:
            problems.append(Problem("output", "NOT_ALLOWED", "an output goes with SUPPLY_OUTPUT alone"))
    elif supplies:
        message = 'SUPPLY_OUTPUT needs an output; where the action has none, send {"json": "null"}'
        problems.append(Problem("output", "REQUIRED", message))
    refuse(problems)
    order = Resolve(request.node, Resolution(request.resolution), request.by.actor, request.by.reason, output)
    try:
        return await runtime.request(request.saga_id, order)
    except RequestRefused as error:
        raise refusal(error, f"{request.saga_id}/{request.node}") from error


def _check_resolution(given: int) -> list[Problem]:
    problems = checks.required(given != log_pb2.RESOLUTION_UNSPECIFIED, "resolution", "a decision")
    return problems or checks.known_value(given, _RESOLUTIONS, "resolution")
