"""SetActionBreakpoint, ClearActionBreakpoint and ListActionBreakpoints."""

from __future__ import annotations

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import saga_pb2
from sagaline_server.api import checks
from sagaline_server.api.errors import refuse
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.ports.clock import Clock
from sagaline_server.wire.breakpoints import is_of_point, point_subject
from sagaline_server.wire.times import timestamp

_SIDES = frozenset(saga_pb2.InvocationKind.values())


async def set_breakpoint(
    runtime: SagaRuntime, request: pb.SetActionBreakpointRequest, clock: Clock
) -> pb.SetActionBreakpointResponse:
    """Set a breakpoint on an action, in place of the one that was there."""
    point = request.breakpoint
    problems = _check_action(point.action, "breakpoint.action")
    problems += checks.known_value(point.kind, _SIDES, "breakpoint.kind")
    problems += checks.required(bool(point.actor), "breakpoint.actor", "who decides")
    problems += checks.required(bool(point.reason), "breakpoint.reason", "why")
    problems += checks.at_most_bytes(point.actor, limits.ACTOR_BYTES, "breakpoint.actor")
    problems += checks.at_most_bytes(point.reason, limits.REASON_BYTES, "breakpoint.reason")
    refuse(problems)
    others = [other for other in await _points(runtime) if other.action != point.action]
    refuse(checks.at_most_items(len(others) + 1, limits.ACTION_BREAKPOINTS, "breakpoint"))
    point.time.CopyFrom(timestamp(clock.wall()))
    await runtime.set_condition(point_subject(point.action), point.SerializeToString())
    return pb.SetActionBreakpointResponse(breakpoint=point)


async def clear_breakpoint(
    runtime: SagaRuntime, request: pb.ClearActionBreakpointRequest
) -> pb.ClearActionBreakpointResponse:
    """Clear the breakpoint on an action, if there is one."""
    refuse(_check_action(request.action, "action"))
    await runtime.set_condition(point_subject(request.action), b"")
    return pb.ClearActionBreakpointResponse()


async def list_breakpoints(runtime: SagaRuntime) -> pb.ListActionBreakpointsResponse:
    """List the breakpoints on actions, by action."""
    return pb.ListActionBreakpointsResponse(breakpoints=await _points(runtime))


async def _points(runtime: SagaRuntime) -> list[pb.ActionBreakpoint]:
    stored = [one for one in await runtime.conditions() if is_of_point(one.subject)]
    return [pb.ActionBreakpoint.FromString(one.value) for one in stored]


def _check_action(action: str, field: str) -> list[Problem]:
    problems = checks.required(bool(action), field, "the name of the action")
    return problems + checks.at_most_chars(action, limits.ACTION_NAME_CHARS, field)
