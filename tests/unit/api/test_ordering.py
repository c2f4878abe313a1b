"""PauseSaga, ResumeSaga, StepSaga, SetBreakpoints, UnwindSaga and ResolveNode."""

from __future__ import annotations

import grpc

from sagaline.v1 import log_pb2, saga_pb2
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.core.entries import (
    Breakpoint,
    GateChanged,
    Kind,
    OperatorResolved,
    Resolution,
    SignalReceived,
    UnwindRequested,
)
from sagaline_server.core.values import Disposition, Failure, Payload
from tests.unit.api.conftest import Served
from tests.unit.api.fake_runtime import NO_EFFECT
from tests.unit.api.refusals import refused
from tests.unit.api.specs import TRIP, trip

BY = pb.Attribution(actor="ann", reason="storm")


async def create(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))


async def test_a_pause_and_its_end_are_logged_with_who_and_why(served: Served) -> None:
    await create(served)
    paused = await served.sagas.PauseSaga(pb.PauseSagaRequest(saga_id="s1", by=BY))
    assert paused.saga.paused
    assert served.runtime.log("s1")[-1].entry == GateChanged(paused=True, actor="ann", reason="storm")
    length = len(served.runtime.log("s1"))
    assert (await served.sagas.PauseSaga(pb.PauseSagaRequest(saga_id="s1"))).saga.paused
    assert len(served.runtime.log("s1")) == length, "a second pause changes nothing"
    resumed = await served.sagas.ResumeSaga(pb.ResumeSagaRequest(saga_id="s1", by=BY))
    assert not resumed.saga.paused
    assert served.runtime.log("s1")[-1].entry == GateChanged(paused=False, actor="ann", reason="storm")
    assert not (await served.sagas.ResumeSaga(pb.ResumeSagaRequest(saga_id="s1"))).saga.paused


async def test_steps_are_let_pass_one_by_one(served: Served) -> None:
    spec = trip("s1")
    spec.start_paused = True
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=spec))
    await served.sagas.StepSaga(pb.StepSagaRequest(saga_id="s1", by=BY))
    gate = served.runtime.log("s1")[1].entry
    assert gate == GateChanged(paused=True, actor="ann", reason="storm", steps=1)
    served.runtime.finish("s1", "pay")
    full = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))).saga
    assert {node.waiting_for for node in full.nodes if node.waiting_for} == {"the gate: the saga is paused"}
    await served.sagas.ResumeSaga(pb.ResumeSagaRequest(saga_id="s1"))
    told = await refused(served.sagas.StepSaga(pb.StepSagaRequest(saga_id="s1")))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SAGA_NOT_PAUSED")


async def test_breakpoints_hold_their_nodes(served: Served) -> None:
    await create(served)
    point = log_pb2.Breakpoint(node="hotel", kind=saga_pb2.INVOCATION_KIND_ACTION)
    request = pb.SetBreakpointsRequest(saga_id="s1", breakpoints=[point], by=BY)
    await served.sagas.SetBreakpoints(request)
    expected = GateChanged(False, "ann", "storm", breakpoints=(Breakpoint("hotel", Kind.ACTION),))
    assert served.runtime.log("s1")[-1].entry == expected
    served.runtime.finish("s1", "pay")
    full = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))).saga
    assert {node.name: node.waiting_for for node in full.nodes}["hotel"] == "the gate: a breakpoint at hotel"
    request.breakpoints[0].node = "nobody"
    told = await refused(served.sagas.SetBreakpoints(request))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND")
    await served.sagas.SetBreakpoints(pb.SetBreakpointsRequest(saga_id="s1"))
    served.runtime.finish("s1", "hotel")


async def test_a_saga_unwinds_on_request(served: Served) -> None:
    await create(served)
    served.runtime.finish("s1", "pay")
    unwinding = await served.sagas.UnwindSaga(pb.UnwindSagaRequest(saga_id="s1", by=BY))
    assert unwinding.saga.state == saga_pb2.SAGA_STATE_UNWINDING
    entries = [stamped.entry for stamped in served.runtime.log("s1")]
    (request,) = [entry for entry in entries if isinstance(entry, UnwindRequested)]
    assert (request.actor, request.reason) == ("ann", "storm")
    again = await served.sagas.UnwindSaga(pb.UnwindSagaRequest(saga_id="s1"))
    assert again.saga.state == saga_pb2.SAGA_STATE_UNWINDING
    served.runtime.run_on()
    ended = await served.sagas.UnwindSaga(pb.UnwindSagaRequest(saga_id="s1"))
    assert ended.saga.state == saga_pb2.SAGA_STATE_UNWOUND


async def test_what_has_ended_takes_no_orders(served: Served) -> None:
    await create(served)
    for node in TRIP:
        served.runtime.finish("s1", node)
    for call in (
        served.sagas.PauseSaga(pb.PauseSagaRequest(saga_id="s1")),
        served.sagas.ResumeSaga(pb.ResumeSagaRequest(saga_id="s1")),
        served.sagas.UnwindSaga(pb.UnwindSagaRequest(saga_id="s1")),
    ):
        told = await refused(call)
        assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SAGA_FINISHED")
        (violation,) = told.details["PreconditionFailure"].violations
        assert (violation.type, violation.subject) == ("SAGA_FINISHED", "s1")
        assert violation.description == told.message


async def test_a_signal_reaches_the_node_that_waits_for_it(served: Served) -> None:
    spec = trip("s1")
    spec.graph.nodes.add(name="approve").signal.SetInParent()
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=spec))
    request = pb.SignalSagaRequest(saga_id="s1", signal="approve", request_id="r1")
    request.payload.json = '"yes"'
    for _ in range(2):
        await served.sagas.SignalSaga(request)
    assert served.runtime.log("s1")[-1].entry == SignalReceived("approve", Payload(json='"yes"'), "r1")
    full = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))).saga
    outputs = {node.name: (node.kind, node.output.json) for node in full.nodes}
    assert outputs["approve"] == ("signal", '"yes"')
    told = await refused(served.sagas.SignalSaga(pb.SignalSagaRequest(saga_id="s1", signal="nobody")))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "SIGNAL_NOT_FOUND")


def resolve(resolution: log_pb2.Resolution.ValueType, node: str = "pay") -> pb.ResolveNodeRequest:
    return pb.ResolveNodeRequest(saga_id="s1", node=node, resolution=resolution, by=BY)


async def test_a_stuck_node_is_marked_undone(served: Served) -> None:
    await create(served)
    served.runtime.finish("s1", "pay")
    served.runtime.finish("s1", "hotel", NO_EFFECT)
    served.runtime.finish("s1", "pay", NO_EFFECT, Kind.UNDO)
    told = await refused(served.sagas.ResolveNode(resolve(log_pb2.RESOLUTION_MARK_FAILED)))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "NODE_NOT_RESOLVABLE")
    assert told.details["PreconditionFailure"].violations[0].subject == "s1/pay"
    resolved = await served.sagas.ResolveNode(resolve(log_pb2.RESOLUTION_MARK_UNDONE))
    assert resolved.saga.state == saga_pb2.SAGA_STATE_UNWOUND


async def test_a_decision_on_an_older_state_is_refused(served: Served) -> None:
    await create(served)
    served.runtime.finish("s1", "pay", Failure("Odd", "look at it", Disposition.HOLD))
    length = (await served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))).saga.log_length
    request = resolve(log_pb2.RESOLUTION_MARK_FAILED)
    request.expected_log_length = length - 1
    told = await refused(served.sagas.ResolveNode(request))
    assert (told.code, told.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SAGA_CHANGED")
    assert told.details["PreconditionFailure"].violations[0].subject == "s1/pay"
    request.expected_log_length = length
    assert not (await served.sagas.ResolveNode(request)).saga.needs_operator


async def test_a_held_node_is_given_its_output(served: Served) -> None:
    await create(served)
    served.runtime.finish("s1", "pay", Failure("Odd", "look at it", Disposition.HOLD))
    request = resolve(log_pb2.RESOLUTION_SUPPLY_OUTPUT)
    request.output.json = '"by hand"'
    resolved = await served.sagas.ResolveNode(request)
    assert not resolved.saga.needs_operator
    entries = [stamped.entry for stamped in served.runtime.log("s1")]
    (entry,) = [entry for entry in entries if isinstance(entry, OperatorResolved)]
    expected = OperatorResolved("pay", Resolution.SUPPLY_OUTPUT, "ann", "storm", Payload(json='"by hand"'))
    assert entry == expected


async def test_a_node_that_is_not_there_is_not_found(served: Served) -> None:
    await create(served)
    told = await refused(served.sagas.ResolveNode(resolve(log_pb2.RESOLUTION_RETRY, "nobody")))
    assert (told.code, told.reason) == (grpc.StatusCode.NOT_FOUND, "NODE_NOT_FOUND")
    assert told.details["ResourceInfo"].resource_name == "s1/nobody"
    assert told.details["ResourceInfo"].resource_type == "sagaline.v1.Node"
