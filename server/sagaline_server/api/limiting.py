"""SetLimit and ListLimits."""

from __future__ import annotations

import math

from sagaline.v1 import admin_service_pb2 as pb
from sagaline_server.api import checks
from sagaline_server.api.errors import refuse
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.validate import Problem
from sagaline_server.ports.cluster import StoredCondition
from sagaline_server.wire.breakpoints import is_of_point
from sagaline_server.wire.limits import is_lifted, subject

_OF_SCOPE = ("max_running", "max_failing")
_OF_ACTION = ("max_in_flight", "starts_per_second")


async def set_limit(runtime: SagaRuntime, request: pb.SetLimitRequest) -> pb.SetLimitResponse:
    """Set or lift a limit."""
    limit = request.limit
    refuse(_problems(limit))
    if is_lifted(limit):
        await runtime.set_condition(subject(limit), b"")
        return pb.SetLimitResponse(limit=limit)
    others = [stored for stored in await _limits(runtime) if stored.subject != subject(limit)]
    refuse(checks.at_most_items(len(others) + 1, limits.LIMITS, "limit"))
    await runtime.set_condition(subject(limit), limit.SerializeToString())
    return pb.SetLimitResponse(limit=limit)


async def list_limits(runtime: SagaRuntime) -> pb.ListLimitsResponse:
    """List all limits, by their subjects."""
    return pb.ListLimitsResponse(limits=[pb.Limit.FromString(stored.value) for stored in await _limits(runtime)])


async def _limits(runtime: SagaRuntime) -> list[StoredCondition]:
    return [stored for stored in await runtime.conditions() if not is_of_point(stored.subject)]


def _problems(limit: pb.Limit) -> list[Problem]:
    kind = limit.WhichOneof("subject")
    if kind is None:
        return [Problem("limit", "REQUIRED", "a limit is on a scope or on an action; name one")]
    name = limit.scope if kind == "scope" else limit.action
    problems = checks.required(bool(name), f"limit.{kind}", f"the name of the {kind}")
    chars = limits.SCOPE_CHARS if kind == "scope" else limits.ACTION_NAME_CHARS
    problems += checks.at_most_chars(name, chars, f"limit.{kind}")
    for field in _OF_ACTION if kind == "scope" else _OF_SCOPE:
        if limit.HasField(field):  # type: ignore[arg-type]
            problems.append(Problem(f"limit.{field}", "NOT_ALLOWED", f"a limit on {kind}s has no {field}"))
    for field in ("max_running", "max_failing", "max_in_flight"):
        if getattr(limit, field) < 0:
            problems.append(Problem(f"limit.{field}", "OUT_OF_RANGE", "0 or more is allowed; leave it out to lift it"))
    if limit.HasField("starts_per_second") and not 0 < limit.starts_per_second < math.inf:
        message = "more than 0 is allowed; to let none start, set max_in_flight to 0"
        problems.append(Problem("limit.starts_per_second", "OUT_OF_RANGE", message))
    return problems
