"""Orders to a saga: what PauseSaga, UnwindSaga, ResolveNode and their like check, and ask of the runtime."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import refusal, refuse
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.decide import (
    InjectFault,
    Resolve,
    SetBreakpoints,
    SetPaused,
    SetQuarantined,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.entries import FaultKind, Resolution
from sagaline_server.core.validate import Problem, check_payload, check_saga_id
from sagaline_server.core.values import NULL
from sagaline_server.runtime.requests import RequestRefused
from sagaline_server.wire.breakpoints import breakpoints_from
from sagaline_server.wire.payloads import payload_from

_SIDES = frozenset(saga_pb2.InvocationKind.values())
_FAULTS = frozenset(int(fault) for fault in FaultKind)
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


async def step(runtime: SagaRuntime, request: saga_service_pb2.StepSagaRequest) -> saga_pb2.Saga:
    """Let a number of starts pass the gate."""
    problems = check_saga_id(request.saga_id) + checks.attribution(request.by)
    if not 0 <= request.steps <= limits.STEPS:
        message = f"1 to {limits.STEPS} steps are allowed, and 0 means 1; this is {request.steps}"
        problems.append(Problem("steps", "OUT_OF_RANGE", message))
    refuse(problems)
    return await runtime.request(request.saga_id, Step(request.steps or 1, request.by.actor, request.by.reason))


async def set_breakpoints(runtime: SagaRuntime, request: saga_service_pb2.SetBreakpointsRequest) -> saga_pb2.Saga:
    """Replace a saga's breakpoints."""
    problems = check_saga_id(request.saga_id) + checks.attribution(request.by)
    problems += checks.at_most_items(len(request.breakpoints), limits.BREAKPOINTS, "breakpoints")
    for i, point in enumerate(request.breakpoints[: limits.BREAKPOINTS]):
        problems += checks.required(bool(point.node), f"breakpoints[{i}].node", "a node")
        problems += checks.at_most_chars(point.node, checks.NODE_PATH_CHARS, f"breakpoints[{i}].node")
        problems += checks.known_value(point.kind, _SIDES, f"breakpoints[{i}].kind")
    refuse(problems)
    breakpoints = breakpoints_from(request.breakpoints)
    order = SetBreakpoints(breakpoints, request.by.actor, request.by.reason)
    return await runtime.request(request.saga_id, order)


async def unwind(runtime: SagaRuntime, request: saga_service_pb2.UnwindSagaRequest) -> saga_pb2.Saga:
    """Ask a saga to undo what it has done."""
    refuse(check_saga_id(request.saga_id) + checks.attribution(request.by))
    return await runtime.request(request.saga_id, Unwind(actor=request.by.actor, reason=request.by.reason))


async def signal(runtime: SagaRuntime, request: saga_service_pb2.SignalSagaRequest) -> saga_pb2.Saga:
    """Send a signal."""
    problems = check_saga_id(request.saga_id)
    problems += checks.required(bool(request.signal), "signal", "the name of a signal")
    problems += checks.at_most_chars(request.signal, limits.NODE_NAME_CHARS, "signal")
    problems += checks.at_most_chars(request.request_id, limits.REQUEST_ID_CHARS, "request_id")
    payload = payload_from(request.payload) if request.HasField("payload") else NULL
    problems += check_payload(payload, "payload")
    refuse(problems)
    return await runtime.request(request.saga_id, Signal(request.signal, payload, request.request_id))


async def inject_fault(
    runtime: SagaRuntime, request: saga_service_pb2.InjectFaultRequest, *, is_allowed: bool
) -> saga_pb2.Saga:
    """Make later attempts of a node go wrong."""
    problems = check_saga_id(request.saga_id) + checks.attribution(request.by)
    problems += checks.required(bool(request.node), "node", "a node")
    problems += checks.at_most_chars(request.node, checks.NODE_PATH_CHARS, "node")
    problems += checks.required(request.fault != log_pb2.FAULT_KIND_UNSPECIFIED, "fault", "what is to happen") or (
        checks.known_value(request.fault, _FAULTS, "fault")
    )
    if not 0 <= request.times <= limits.FAULTS:
        message = f"1 to {limits.FAULTS} times are allowed, and 0 means 1; this is {request.times}"
        problems.append(Problem("times", "OUT_OF_RANGE", message))
    refuse(problems)
    target = f"{request.saga_id}/{request.node}"
    if not is_allowed:
        message = "faults are injected only where the setting fault_injection is true, which is for tests"
        raise refusal(RequestRefused("FAULTS_NOT_ALLOWED", message), target)
    fault = FaultKind(request.fault)
    order = InjectFault(request.node, fault, request.times or 1, request.by.actor, request.by.reason)
    try:
        return await runtime.request(request.saga_id, order)
    except RequestRefused as error:
        raise refusal(error, target) from error


async def set_quarantined(
    runtime: SagaRuntime,
    request: admin_service_pb2.QuarantineSagaRequest | admin_service_pb2.ReleaseSagaRequest,
    *,
    quarantined: bool,
) -> saga_pb2.Saga:
    """Set a saga aside, or take it back into service."""
    problems = check_saga_id(request.saga_id)
    problems += checks.required(bool(request.actor), "actor", "who decides")
    problems += checks.required(bool(request.reason), "reason", "why")
    problems += checks.at_most_bytes(request.actor, limits.ACTOR_BYTES, "actor")
    problems += checks.at_most_bytes(request.reason, limits.REASON_BYTES, "reason")
    refuse(problems)
    return await runtime.request(request.saga_id, SetQuarantined(quarantined, request.actor, request.reason))


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
    if request.expected_log_length < 0:
        problems.append(
            Problem("expected_log_length", "OUT_OF_RANGE", "a number of entries, or 0 where it is not said")
        )
    refuse(problems)
    resolution, expected = Resolution(request.resolution), request.expected_log_length
    order = Resolve(request.node, resolution, request.by.actor, request.by.reason, output, expected)
    try:
        return await runtime.request(request.saga_id, order)
    except RequestRefused as error:
        raise refusal(error, f"{request.saga_id}/{request.node}") from error


def _check_resolution(given: int) -> list[Problem]:
    problems = checks.required(given != log_pb2.RESOLUTION_UNSPECIFIED, "resolution", "a decision")
    return problems or checks.known_value(given, _RESOLUTIONS, "resolution")
