"""The two faces of the client have the same methods, take the same arguments and send the same requests."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from sagaline import sync
from sagaline.client import Client
from sagaline.v1 import admin_service_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2
from tests.unit.client.samples import SUCCEEDED, TRIP, Trip, trip
from tests.unit.client.serving import ADMIN_SERVICE, SAGA_SERVICE, handlers

BY = {"actor": "ann", "reason": "look"}
OUTPUT = payload_pb2.Payload(json='{"number":1}')
RECORD = log_pb2.SagaRecord(digest=b"d" * 32)
DONE = saga_pb2.Saga(saga_id="t", state=SUCCEEDED, output=OUTPUT)

CALLS: dict[str, Callable[[Any], Any]] = {
    "create": lambda client: client.create(TRIP, Trip("Oslo"), saga_id="t", labels={"a": "b"}),
    "create_new": lambda client: client.create_new(trip("t")),
    "create_many": lambda client: client.create_many([trip("t")]),
    "run": lambda client: client.run(TRIP, Trip("Oslo"), saga_id="t"),
    "run_new": lambda client: client.run_new(trip("t")),
    "create_and_wait": lambda client: client.create_and_wait(trip("t"), or_needs_operator=True),
    "result": lambda client: client.result(trip("t")),
    "get": lambda client: client.get("t", view=saga_pb2.SAGA_VIEW_BASIC),
    "list": lambda client: client.list(graph_name="trip", view=saga_pb2.SAGA_VIEW_FULL),
    "count": lambda client: client.count(graph_name="trip", failed_node="hotel"),
    "batch_control": lambda client: client.batch_control(saga_service_pb2.BATCH_CONTROL_PAUSE, scope="rack/1", **BY),
    "record": lambda client: client.record("t"),
    "log": lambda client: client.log("t", from_seq=3),
    "wait": lambda client: client.wait("t", or_needs_operator=True),
    "workers": lambda client: client.workers(),
    "explain": lambda client: client.explain("t"),
    "secs": lambda client: client.secs(),
    "inject_fault": lambda client: client.inject_fault("t", "n", log_pb2.FAULT_KIND_REPEAT, times=2, **BY),
    "quarantine": lambda client: client.quarantine("t", **BY),
    "release": lambda client: client.release("t", **BY),
    "set_scope_limit": lambda client: client.set_scope_limit("rack/1", max_running=2, max_failing=1),
    "set_action_limit": lambda client: client.set_action_limit("book", max_in_flight=2, starts_per_second=0.5),
    "limits": lambda client: client.limits(),
    "set_action_breakpoint": lambda client: client.set_action_breakpoint(
        "book", kind=saga_pb2.INVOCATION_KIND_UNDO, **BY
    ),
    "clear_action_breakpoint": lambda client: client.clear_action_breakpoint("book"),
    "action_breakpoints": lambda client: client.action_breakpoints(),
    "hand_off": lambda client: client.hand_off("t", to_sec_id="sec-2"),
    "drain": lambda client: client.drain("sec-2", within_s=1.5),
    "pause": lambda client: client.pause("t", **BY),
    "resume": lambda client: client.resume("t", **BY),
    "step": lambda client: client.step("t", 3, **BY),
    "set_breakpoints": lambda client: client.set_breakpoints("t", ["a", log_pb2.Breakpoint(node="b")], **BY),
    "unwind": lambda client: client.unwind("t", **BY),
    "signal": lambda client: client.signal("t", "go", {"a": 1}, request_id="r"),
    "resolve": lambda client: client.resolve("t", "n", log_pb2.RESOLUTION_RETRY, output=OUTPUT, **BY),
}
STREAMS = ("run_many", "watch")
"""Their own tests, of each face, say more than a request could."""

ANSWERS = {
    "CreateSaga": saga_service_pb2.CreateSagaResponse(saga=DONE),
    "CreateSagas": saga_service_pb2.CreateSagasResponse(results=[saga_service_pb2.CreateResult(saga_id="t")]),
    "RunSaga": saga_service_pb2.RunSagaResponse(saga=DONE),
    "GetSaga": saga_service_pb2.GetSagaResponse(saga=DONE),
    "ListSagas": saga_service_pb2.ListSagasResponse(sagas=[DONE]),
    "CountSagas": saga_service_pb2.CountSagasResponse(counts=[saga_service_pb2.StateCount(state=SUCCEEDED, count=3)]),
    "BatchControlSagas": saga_service_pb2.BatchControlSagasResponse(saga_ids=["t"], refused={"u": "SAGA_FINISHED"}),
    "GetSagaLog": saga_service_pb2.GetSagaLogResponse(entries=[log_pb2.LogEntry(seq=3)], record=RECORD),
    "WaitSaga": saga_service_pb2.WaitSagaResponse(saga=DONE),
    "PauseSaga": saga_service_pb2.PauseSagaResponse(saga=DONE),
    "ResumeSaga": saga_service_pb2.ResumeSagaResponse(saga=DONE),
    "StepSaga": saga_service_pb2.StepSagaResponse(saga=DONE),
    "SetBreakpoints": saga_service_pb2.SetBreakpointsResponse(saga=DONE),
    "UnwindSaga": saga_service_pb2.UnwindSagaResponse(saga=DONE),
    "SignalSaga": saga_service_pb2.SignalSagaResponse(saga=DONE),
    "ResolveNode": saga_service_pb2.ResolveNodeResponse(saga=DONE),
    "ListWorkers": admin_service_pb2.ListWorkersResponse(workers=[admin_service_pb2.WorkerStatus(worker_id="w")]),
    "ListSecs": admin_service_pb2.ListSecsResponse(secs=[admin_service_pb2.SecStatus(incarnation=7)]),
    "InjectFault": saga_service_pb2.InjectFaultResponse(saga=DONE),
    "QuarantineSaga": admin_service_pb2.QuarantineSagaResponse(saga=DONE),
    "ReleaseSaga": admin_service_pb2.ReleaseSagaResponse(saga=DONE),
    "SetLimit": admin_service_pb2.SetLimitResponse(limit=admin_service_pb2.Limit(scope="rack/1", max_running=2)),
    "ListLimits": admin_service_pb2.ListLimitsResponse(limits=[admin_service_pb2.Limit(action="book")]),
    "SetActionBreakpoint": admin_service_pb2.SetActionBreakpointResponse(
        breakpoint=admin_service_pb2.ActionBreakpoint(action="book")
    ),
    "ClearActionBreakpoint": admin_service_pb2.ClearActionBreakpointResponse(),
    "ListActionBreakpoints": admin_service_pb2.ListActionBreakpointsResponse(
        breakpoints=[admin_service_pb2.ActionBreakpoint(action="book")]
    ),
    "HandOff": admin_service_pb2.HandOffResponse(epoch=2),
    "DrainSec": admin_service_pb2.DrainSecResponse(),
    "ExplainSaga": admin_service_pb2.ExplainSagaResponse(waits=[admin_service_pb2.NodeWait(node="n")]),
}


class Recorder:
    """Answers every method with its answer, and keeps the requests."""

    def __init__(self) -> None:
        self.requests: list[Any] = []

    def __getattr__(self, method: str) -> Any:
        if method not in ANSWERS:
            raise AttributeError(method)

        async def answer(request: Any, _context: Any) -> Any:
            self.requests.append(request)
            return ANSWERS[method]

        return answer

    def taken(self) -> list[Any]:
        taken, self.requests = self.requests, []
        return taken


@pytest.fixture
async def recorder() -> AsyncIterator[tuple[Recorder, str]]:
    recorder = Recorder()
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((handlers(SAGA_SERVICE, recorder), handlers(ADMIN_SERVICE, recorder)))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield recorder, f"127.0.0.1:{port}"
    await server.stop(0)


def seen(value: Any) -> Any:
    """What can be compared of a result: the sagas that were prepared for a call are objects of that call."""
    if isinstance(value, (list, tuple)):
        return [seen(item) for item in value]
    return (value.saga_id, value.existed, value.error) if hasattr(value, "existed") else value


@pytest.mark.parametrize("name", CALLS)
async def test_both_send_and_return_the_same(recorder: tuple[Recorder, str], name: str) -> None:
    server, address = recorder
    async with Client(address) as client:
        given = CALLS[name](client)
        there = [item async for item in given] if inspect.isasyncgen(given) else await given
    sent = server.taken()

    def call() -> Any:
        with sync.Client(address) as client:
            given = CALLS[name](client)
            return list(given) if inspect.isgenerator(given) else given

    here = await asyncio.to_thread(call)
    assert sent != []
    assert server.taken() == sent
    assert seen(here) == seen(there)


def public_methods(face: type) -> dict[str, inspect.Signature]:
    members = inspect.getmembers(face, inspect.isfunction)
    return {name: inspect.signature(function) for name, function in members if not name.startswith("_")}


def test_both_have_the_same_methods_and_every_one_is_tried_here() -> None:
    assert set(public_methods(Client)) == set(public_methods(sync.Client)) == {*CALLS, *STREAMS, "close"}


@pytest.mark.parametrize("name", [*CALLS, *STREAMS])
def test_both_take_the_same_arguments(name: str) -> None:
    there, here = public_methods(Client)[name], public_methods(sync.Client)[name]
    assert list(there.parameters.values()) == list(here.parameters.values())
