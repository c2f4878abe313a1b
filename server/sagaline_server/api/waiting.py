"""WaitSaga and RunSaga: they answer when a saga has ended, or with the saga as it stands when the time is over."""

from __future__ import annotations

from sagaline.v1 import saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.batches import refused_outcome
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import Refused, refuse
from sagaline_server.api.handlers import Context
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem, check_saga_id
from sagaline_server.runtime.requests import CreateFate, Creation
from sagaline_server.wire.times import to_seconds

MARGIN_SHARE = 0.1
MARGIN_MAX = 0.5
"""Seconds that a wait ends before the call's deadline, so that the client gets an answer and no error."""

WaitRequest = saga_service_pb2.WaitSagaRequest | saga_service_pb2.RunSagaRequest


async def wait_saga(
    runtime: SagaRuntime, request: saga_service_pb2.WaitSagaRequest, context: Context
) -> saga_service_pb2.WaitSagaResponse:
    """Return a saga once it has ended, or the time is over."""
    refuse(check_saga_id(request.saga_id) + _check_timeout(request))
    timeout = _seconds(request, context)
    saga = await runtime.wait(request.saga_id, timeout=timeout, or_needs_operator=request.or_needs_operator)
    return saga_service_pb2.WaitSagaResponse(saga=saga)


async def run_saga(
    runtime: SagaRuntime, maker: CreationMaker, request: saga_service_pb2.RunSagaRequest, context: Context
) -> saga_service_pb2.RunSagaResponse:
    """Create a saga, or find it as it was created before, and return it once it has ended, or the time is over."""
    creation = _creation(maker, request)
    saga_id = creation.spec.saga_id
    (fate,) = await runtime.create([creation])
    if fate not in (CreateFate.CREATED, CreateFate.EXISTED):
        raise refused_outcome(saga_id, fate)
    timeout = _seconds(request, context)
    saga = await runtime.wait(saga_id, timeout=timeout, or_needs_operator=request.or_needs_operator)
    return saga_service_pb2.RunSagaResponse(saga=saga, existed=fate is CreateFate.EXISTED)


def _creation(maker: CreationMaker, request: saga_service_pb2.RunSagaRequest) -> Creation:
    problems = checks.required(request.HasField("saga"), "saga", "a saga") + _check_timeout(request)
    if not request.HasField("saga"):
        refuse(problems)
    try:
        creation = maker.make(request.saga, maker.moment())
    except Refused as refused:
        if problems and refused.problems:
            refuse([*problems, *refused.problems])
        raise
    refuse(problems)
    return creation


def _check_timeout(request: WaitRequest) -> list[Problem]:
    return checks.span(request.timeout, "timeout", limits.WAIT_SECONDS_MAX) if request.HasField("timeout") else []


def _seconds(request: WaitRequest, context: Context) -> float:
    """Return how long to wait from now on."""
    timeout = to_seconds(request.timeout) if request.HasField("timeout") else limits.WAIT_SECONDS_MAX
    remaining: float | None = context.time_remaining()
    if remaining is not None:
        timeout = min(timeout, remaining - min(MARGIN_MAX, remaining * MARGIN_SHARE))
    return max(timeout, 0.0)
