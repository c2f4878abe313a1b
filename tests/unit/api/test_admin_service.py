"""AdminService: what it serves."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import saga_pb2, saga_service_pb2, worker_service_pb2
from sagaline_server.core import limits
from tests.unit.api.conftest import Served
from tests.unit.api.refusals import refused
from tests.unit.api.specs import TRIP, trip

OTHER = worker_service_pb2.Sec(sec_id="sec-2", address="sec-2:7070")


async def create(served: Served, *, ended: bool = False) -> None:
    await served.sagas.CreateSaga(saga_service_pb2.CreateSagaRequest(saga=trip("s1")))
    if ended:
        for node in TRIP:
            served.runtime.finish("s1", node)


async def test_workers_are_listed(served: Served) -> None:
    served.runtime.worker_statuses = [pb.WorkerStatus(worker_id="w1", connected=True)]
    response = await served.admin.ListWorkers(pb.ListWorkersRequest())
    assert [worker.worker_id for worker in response.workers] == ["w1"]


async def test_a_saga_is_explained(served: Served) -> None:
    await create(served)
    request = pb.ExplainSagaRequest(saga_id="s1")
    (wait,) = (await served.admin.ExplainSaga(request)).waits
    assert (wait.node, wait.kind) == ("pay", saga_pb2.INVOCATION_KIND_ACTION)
    served.runtime.run_on()
    assert not (await served.admin.ExplainSaga(request)).waits


async def test_secs_are_listed(served: Served) -> None:
    await create(served)
    served.runtime.other_secs = [OTHER]
    me, other = (await served.admin.ListSecs(pb.ListSecsRequest())).secs
    assert (me.sec.sec_id, me.owned_sagas) == ("sec-test", 1)
    assert other.sec == OTHER


# ---- limits


async def test_limits_are_set_listed_and_lifted(served: Served) -> None:
    scope = pb.Limit(scope="rack/17", max_running=3, max_failing=1)
    action = pb.Limit(action="book", max_in_flight=0, starts_per_second=0.5)
    for limit in (scope, action):
        assert (await served.admin.SetLimit(pb.SetLimitRequest(limit=limit))).limit == limit
    assert list((await served.admin.ListLimits(pb.ListLimitsRequest())).limits) == [action, scope]
    for _ in range(2):
        await served.admin.SetLimit(pb.SetLimitRequest(limit=pb.Limit(action="book")))
    assert list((await served.admin.ListLimits(pb.ListLimitsRequest())).limits) == [scope]


@pytest.mark.parametrize(
    ("limit", "field", "reason"),
    [
        (pb.Limit(max_running=1), "limit", "REQUIRED"),
        (pb.Limit(scope="", max_running=1), "limit.scope", "REQUIRED"),
        (pb.Limit(scope="x" * 129, max_running=1), "limit.scope", "TOO_LONG"),
        (pb.Limit(scope="x", max_in_flight=1), "limit.max_in_flight", "NOT_ALLOWED"),
        (pb.Limit(scope="x", starts_per_second=1), "limit.starts_per_second", "NOT_ALLOWED"),
        (pb.Limit(action="x", max_failing=1), "limit.max_failing", "NOT_ALLOWED"),
        (pb.Limit(action="x", max_in_flight=-1), "limit.max_in_flight", "OUT_OF_RANGE"),
        (pb.Limit(action="x", starts_per_second=0), "limit.starts_per_second", "OUT_OF_RANGE"),
        (pb.Limit(action="x", starts_per_second=float("nan")), "limit.starts_per_second", "OUT_OF_RANGE"),
        (pb.Limit(action="x", starts_per_second=float("inf")), "limit.starts_per_second", "OUT_OF_RANGE"),
    ],
)
async def test_a_limit_that_makes_no_sense_is_refused(served: Served, limit: pb.Limit, field: str, reason: str) -> None:
    told = await refused(served.admin.SetLimit(pb.SetLimitRequest(limit=limit)))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [(problem[0], problem[1]) for problem in told.fields] == [(field, reason)]


async def test_there_are_only_so_many_limits(served: Served) -> None:
    for number in range(limits.LIMITS):
        served.runtime.kept_conditions[f"action:{number:04}"] = pb.Limit(action=f"{number:04}").SerializeToString()
    request = pb.SetLimitRequest(limit=pb.Limit(action="more", max_in_flight=1))
    assert (await refused(served.admin.SetLimit(request))).code is grpc.StatusCode.INVALID_ARGUMENT
    await served.admin.SetLimit(pb.SetLimitRequest(limit=pb.Limit(action="0007", max_in_flight=1)))


# ---- breakpoints on actions


async def test_breakpoints_on_actions_are_set_listed_and_cleared(served: Served) -> None:
    await served.admin.SetLimit(pb.SetLimitRequest(limit=pb.Limit(action="book", max_in_flight=0)))
    book = pb.ActionBreakpoint(action="book", actor="ann", reason="a look")
    pay = pb.ActionBreakpoint(action="pay", kind=saga_pb2.INVOCATION_KIND_UNDO, actor="ann", reason="a look")
    for point in (pay, book):
        now = (await served.admin.SetActionBreakpoint(pb.SetActionBreakpointRequest(breakpoint=point))).breakpoint
        assert now.HasField("time")
        point.time.CopyFrom(now.time)
        assert now == point
    listed = await served.admin.ListActionBreakpoints(pb.ListActionBreakpointsRequest())
    assert list(listed.breakpoints) == [book, pay]
    for _ in range(2):
        await served.admin.ClearActionBreakpoint(pb.ClearActionBreakpointRequest(action="book"))
    listed = await served.admin.ListActionBreakpoints(pb.ListActionBreakpointsRequest())
    assert list(listed.breakpoints) == [pay]
    assert len((await served.admin.ListLimits(pb.ListLimitsRequest())).limits) == 1


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"action": ""}, "breakpoint.action", "REQUIRED"),
        ({"action": "x" * 129}, "breakpoint.action", "TOO_LONG"),
        ({"kind": 7}, "breakpoint.kind", "UNKNOWN_VALUE"),
        ({"actor": ""}, "breakpoint.actor", "REQUIRED"),
        ({"actor": "x" * 257}, "breakpoint.actor", "TOO_LONG"),
        ({"reason": ""}, "breakpoint.reason", "REQUIRED"),
        ({"reason": "x" * 1025}, "breakpoint.reason", "TOO_LONG"),
    ],
)
async def test_a_breakpoint_that_makes_no_sense_is_refused(
    served: Served, changed: dict[str, Any], field: str, reason: str
) -> None:
    point = pb.ActionBreakpoint(**{"action": "a", "actor": "ann", "reason": "a look"} | changed)
    told = await refused(served.admin.SetActionBreakpoint(pb.SetActionBreakpointRequest(breakpoint=point)))
    assert (told.code, told.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_REQUEST")
    assert [(problem[0], problem[1]) for problem in told.fields] == [(field, reason)]


async def test_there_are_only_so_many_breakpoints_on_actions(served: Served) -> None:
    def request(action: str) -> pb.SetActionBreakpointRequest:
        return pb.SetActionBreakpointRequest(
            breakpoint=pb.ActionBreakpoint(action=action, actor="ann", reason="a look")
        )

    for number in range(limits.ACTION_BREAKPOINTS):
        await served.admin.SetActionBreakpoint(request(f"a{number}"))
    assert (await refused(served.admin.SetActionBreakpoint(request("more")))).code is grpc.StatusCode.INVALID_ARGUMENT
    await served.admin.SetActionBreakpoint(request("a7"))
    assert (await refused(served.admin.ClearActionBreakpoint(pb.ClearActionBreakpointRequest()))).fields


# ---- HandOff


@pytest.mark.parametrize("to", ["", "sec-2"])
async def test_a_saga_is_handed_off(served: Served, to: str) -> None:
    await create(served)
    served.runtime.other_secs = [OTHER]
    response = await served.admin.HandOff(pb.HandOffRequest(saga_id="s1", to_sec_id=to))
    assert response == pb.HandOffResponse(owner=OTHER, epoch=2)


async def test_nobody_is_there_to_take_a_saga(served: Served) -> None:
    await create(served)
    told = await refused(served.admin.HandOff(pb.HandOffRequest(saga_id="s1")))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_OTHER_SEC")
    assert told.details["PreconditionFailure"].violations[0].subject == "s1"


async def test_a_saga_goes_to_no_sec_that_is_not_there(served: Served) -> None:
    await create(served)
    served.runtime.other_secs = [OTHER]
    told = await refused(served.admin.HandOff(pb.HandOffRequest(saga_id="s1", to_sec_id="sec-9")))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SEC_NOT_FOUND")
    found = told.details["ResourceInfo"]
    assert (found.resource_type, found.resource_name) == ("sagaline.v1.Sec", "sec-9")


async def test_a_saga_that_has_ended_is_not_handed_off(served: Served) -> None:
    await create(served, ended=True)
    served.runtime.other_secs = [OTHER]
    told = await refused(served.admin.HandOff(pb.HandOffRequest(saga_id="s1")))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SAGA_FINISHED")


# ---- DrainSec


async def test_a_sec_is_drained(served: Served) -> None:
    await served.admin.DrainSec(pb.DrainSecRequest())
    named = pb.DrainSecRequest(sec_id="sec-test")
    named.timeout.FromMilliseconds(1500)
    await served.admin.DrainSec(named)
    assert served.runtime.drains == [("", limits.DRAIN_SECONDS_DEFAULT), ("sec-test", 1.5)]


async def test_a_sec_that_is_not_there_is_not_drained(served: Served) -> None:
    told = await refused(served.admin.DrainSec(pb.DrainSecRequest(sec_id="sec-9")))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SEC_NOT_FOUND")
    assert told.details["ResourceInfo"].resource_name == "sec-9"
    assert not served.runtime.drains
