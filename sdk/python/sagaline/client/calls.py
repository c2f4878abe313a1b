"""Every unary call of the client: what is sent, and what is made of the answer. No I/O; both faces share it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypedDict, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from sagaline.client import methods
from sagaline.client.ends import Created
from sagaline.client.methods import Method
from sagaline.client.sagas import Batch, NewSaga, duration
from sagaline.client.status import from_batch_error
from sagaline.errors import UnexpectedAnswer
from sagaline.ids import new_uuid7
from sagaline.v1 import admin_service_pb2, log_pb2, payload_pb2, saga_pb2, saga_service_pb2

R = TypeVar("R")
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

PAGE_SAGAS = 100
PAGE_ENTRIES = 1_000

WAIT_SLICE_S = 60.0
"""A long wait is made of calls of this length, so that a connection that died in silence is found out."""

WAIT_MARGIN_S = 10.0
"""How much longer than what it waits for a call may take."""

CREATE_MARGIN_S = 30.0
"""The same where it creates the saga first."""

SCAN_S = 120.0
"""How long a call may take that goes through many sagas."""

DRAIN_DEFAULT_S = 60.0


@dataclass(frozen=True, slots=True)
class Call(Generic[T_co]):
    """One call.

    The types of request and response are the method's; `parse` gives the whole its result type.
    """

    method: Method[Any, Any]
    request: Message
    parse: Callable[[Any], T_co]
    timeout_s: float | None = None
    """How long it may take. None: as long as the client's calls do."""


class SagaFilterOptions(TypedDict, total=False):
    """Which sagas to list: all that is given must hold."""

    states: Sequence[saga_pb2.SagaState.ValueType]
    """Any of these states."""
    graph_name: str
    """Name of the graph."""
    labels: Mapping[str, str]
    """Labels it must have, with these values."""
    created_from: datetime
    """Created at or after this time; must know its time zone."""
    created_before: datetime
    """Created before this time; must know its time zone."""
    needs_operator: bool
    """True: only those that need an operator."""
    scope: str
    """A scope it must have."""
    failed_node: str
    """A node that failed first."""
    idle_for: timedelta
    """Unfinished, and without a log entry for at least this long."""


def saga_filter(options: SagaFilterOptions) -> saga_service_pb2.SagaFilter:
    """Return the filter as the protocol has it."""
    selected = saga_service_pb2.SagaFilter(
        states=options.get("states"),
        graph_name=options.get("graph_name", ""),
        labels=options.get("labels"),
        needs_operator=options.get("needs_operator", False),
        scope=options.get("scope", ""),
        failed_node=options.get("failed_node", ""),
    )
    if "created_from" in options:
        selected.create_time_from.CopyFrom(_timestamp(options["created_from"]))
    if "created_before" in options:
        selected.create_time_before.CopyFrom(_timestamp(options["created_before"]))
    if "idle_for" in options:
        selected.idle_for.CopyFrom(duration(options["idle_for"]))
    return selected


def _timestamp(moment: datetime) -> Timestamp:
    if moment.tzinfo is None:
        raise ValueError(f"{moment.isoformat()} does not say its time zone")
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _attribution(actor: str, reason: str) -> saga_service_pb2.Attribution:
    return saga_service_pb2.Attribution(actor=actor, reason=reason)


def _saga(response: Any) -> saga_pb2.Saga:
    saga: saga_pb2.Saga = response.saga
    return saga


# ---- creating --------------------------------------------------------------------------------------------


def create(new: NewSaga[R]) -> Call[Created[R]]:
    """Create one saga."""

    def parse(response: saga_service_pb2.CreateSagaResponse) -> Created[R]:
        return Created(new, response.existed, response.saga)

    request = saga_service_pb2.CreateSagaRequest(saga=new.full_spec())
    return Call(methods.CREATE_SAGA, request, parse)


def run(new: NewSaga[R], remaining_s: float | None, *, or_needs_operator: bool) -> Call[saga_pb2.Saga]:
    """Create one saga and wait for the first slice of the time that remains; None is without bound."""
    slice_s = _slice_s(remaining_s)
    request = saga_service_pb2.RunSagaRequest(
        saga=new.full_spec(), timeout=duration(timedelta(seconds=slice_s)), or_needs_operator=or_needs_operator
    )
    return Call(methods.RUN_SAGA, request, _saga, timeout_s=slice_s + CREATE_MARGIN_S)


def create_batch(batch: Batch, news: Sequence[NewSaga[R]], *, with_sagas: bool = False) -> Call[Sequence[Created[R]]]:
    """Create the sagas of one batch; `news` are those that its specs were made from, in order."""

    def parse(response: saga_service_pb2.CreateSagasResponse) -> Sequence[Created[R]]:
        if len(response.results) != len(news):
            raise UnexpectedAnswer(f"{len(news)} sagas were sent, and {len(response.results)} results came")
        return [_created(new, result) for new, result in zip(news, response.results, strict=True)]

    request = saga_service_pb2.CreateSagasRequest(sagas=batch.specs, graphs=batch.graphs, with_sagas=with_sagas)
    return Call(methods.CREATE_SAGAS, request, parse)


def _created(new: NewSaga[R], result: saga_service_pb2.CreateResult) -> Created[R]:
    if result.HasField("error"):
        return Created(new, error=from_batch_error(result.error))
    return Created(new, result.existed, result.saga if result.HasField("saga") else None)


# ---- reading ---------------------------------------------------------------------------------------------


def get(saga_id: str, view: saga_pb2.SagaView.ValueType) -> Call[saga_pb2.Saga]:
    """Read one saga."""
    request = saga_service_pb2.GetSagaRequest(saga_id=saga_id, view=view)
    return Call(methods.GET_SAGA, request, _saga)


def list_page(
    selected: saga_service_pb2.SagaFilter, view: saga_pb2.SagaView.ValueType, page_token: str
) -> Call[saga_service_pb2.ListSagasResponse]:
    """Read one page of a list; the response has the token of the next."""
    request = saga_service_pb2.ListSagasRequest(page_size=PAGE_SAGAS, page_token=page_token, filter=selected, view=view)
    return Call(methods.LIST_SAGAS, request, _itself)


def count(selected: saga_service_pb2.SagaFilter) -> Call[dict[saga_pb2.SagaState.ValueType, int]]:
    """Count sagas by state."""

    def parse(response: saga_service_pb2.CountSagasResponse) -> dict[saga_pb2.SagaState.ValueType, int]:
        return {each.state: each.count for each in response.counts}

    request = saga_service_pb2.CountSagasRequest(filter=selected)
    return Call(methods.COUNT_SAGAS, request, parse, timeout_s=SCAN_S)


def control_page(
    selected: saga_service_pb2.SagaFilter,
    control: saga_service_pb2.BatchControl.ValueType,
    actor: str,
    reason: str,
    page_token: str,
) -> Call[saga_service_pb2.BatchControlSagasResponse]:
    """Control one page of the sagas that a filter selects; the response has the token of the next."""
    request = saga_service_pb2.BatchControlSagasRequest(
        filter=selected, control=control, by=_attribution(actor, reason), page_token=page_token
    )
    return Call(methods.BATCH_CONTROL_SAGAS, request, _itself, timeout_s=SCAN_S)


def log_page(saga_id: str, from_seq: int) -> Call[saga_service_pb2.GetSagaLogResponse]:
    """Read one page of a log; the response has the number of the next entry."""
    request = saga_service_pb2.GetSagaLogRequest(saga_id=saga_id, from_seq=from_seq, page_size=PAGE_ENTRIES)
    return Call(methods.GET_SAGA_LOG, request, _itself)


def record(saga_id: str) -> Call[log_pb2.SagaRecord]:
    """Read what a saga is: it comes with the first entry of its log."""

    def parse(response: saga_service_pb2.GetSagaLogResponse) -> log_pb2.SagaRecord:
        if not response.HasField("record"):
            raise UnexpectedAnswer("the log came without the saga's record")
        return response.record

    request = saga_service_pb2.GetSagaLogRequest(saga_id=saga_id, from_seq=1, page_size=1)
    return Call(methods.GET_SAGA_LOG, request, parse)


def wait(saga_id: str, remaining_s: float | None, *, or_needs_operator: bool) -> Call[saga_pb2.Saga]:
    """Wait for one slice of the time that remains; None is without bound."""
    slice_s = _slice_s(remaining_s)
    request = saga_service_pb2.WaitSagaRequest(
        saga_id=saga_id,
        timeout=duration(timedelta(seconds=slice_s)),
        or_needs_operator=or_needs_operator,
    )
    return Call(methods.WAIT_SAGA, request, _saga, timeout_s=slice_s + WAIT_MARGIN_S)


def _slice_s(remaining_s: float | None) -> float:
    return WAIT_SLICE_S if remaining_s is None else max(0.0, min(WAIT_SLICE_S, remaining_s))


def list_workers() -> Call[Sequence[admin_service_pb2.WorkerStatus]]:
    """List the workers of the SEC that answers."""
    return Call(methods.LIST_WORKERS, admin_service_pb2.ListWorkersRequest(), lambda response: response.workers)


def explain(saga_id: str) -> Call[admin_service_pb2.ExplainSagaResponse]:
    """Ask why the nodes of a saga wait."""
    request = admin_service_pb2.ExplainSagaRequest(saga_id=saga_id)
    return Call(methods.EXPLAIN_SAGA, request, _itself)


def list_secs() -> Call[Sequence[admin_service_pb2.SecStatus]]:
    """List the live SECs."""
    return Call(methods.LIST_SECS, admin_service_pb2.ListSecsRequest(), lambda response: response.secs)


def _itself(response: T) -> T:
    return response


# ---- steering --------------------------------------------------------------------------------------------


def pause(saga_id: str, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """Pause a saga."""
    request = saga_service_pb2.PauseSagaRequest(saga_id=saga_id, by=_attribution(actor, reason))
    return Call(methods.PAUSE_SAGA, request, _saga)


def resume(saga_id: str, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """End a saga's pause."""
    request = saga_service_pb2.ResumeSagaRequest(saga_id=saga_id, by=_attribution(actor, reason))
    return Call(methods.RESUME_SAGA, request, _saga)


def step(saga_id: str, steps: int, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """Let a number of starts pass a saga's gate."""
    request = saga_service_pb2.StepSagaRequest(saga_id=saga_id, steps=steps, by=_attribution(actor, reason))
    return Call(methods.STEP_SAGA, request, _saga)


def set_breakpoints(
    saga_id: str, breakpoints: Sequence[log_pb2.Breakpoint | str], actor: str, reason: str
) -> Call[saga_pb2.Saga]:
    """Replace a saga's breakpoints."""
    points = [log_pb2.Breakpoint(node=point) if isinstance(point, str) else point for point in breakpoints]
    by = _attribution(actor, reason)
    request = saga_service_pb2.SetBreakpointsRequest(saga_id=saga_id, breakpoints=points, by=by)
    return Call(methods.SET_BREAKPOINTS, request, _saga)


def unwind(saga_id: str, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """Ask a saga to unwind."""
    request = saga_service_pb2.UnwindSagaRequest(saga_id=saga_id, by=_attribution(actor, reason))
    return Call(methods.UNWIND_SAGA, request, _saga)


def inject_fault(
    saga_id: str, node: str, fault: log_pb2.FaultKind.ValueType, times: int, actor: str, reason: str
) -> Call[saga_pb2.Saga]:
    """Make later attempts of a node go wrong."""
    by = _attribution(actor, reason)
    request = saga_service_pb2.InjectFaultRequest(saga_id=saga_id, node=node, fault=fault, times=times, by=by)
    return Call(methods.INJECT_FAULT, request, _saga)


def quarantine(saga_id: str, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """Set a saga aside."""
    request = admin_service_pb2.QuarantineSagaRequest(saga_id=saga_id, actor=actor, reason=reason)
    return Call(methods.QUARANTINE_SAGA, request, _saga)


def release(saga_id: str, actor: str, reason: str) -> Call[saga_pb2.Saga]:
    """Take a saga back into service."""
    request = admin_service_pb2.ReleaseSagaRequest(saga_id=saga_id, actor=actor, reason=reason)
    return Call(methods.RELEASE_SAGA, request, _saga)


def set_scope_limit(scope: str, max_running: int | None, max_failing: int | None) -> Call[admin_service_pb2.Limit]:
    """Set the limit of a scope."""
    return _set_limit(admin_service_pb2.Limit(scope=scope, max_running=max_running, max_failing=max_failing))


def set_action_limit(
    action: str, max_in_flight: int | None, starts_per_second: float | None
) -> Call[admin_service_pb2.Limit]:
    """Set the limit of an action."""
    limit = admin_service_pb2.Limit(action=action, max_in_flight=max_in_flight, starts_per_second=starts_per_second)
    return _set_limit(limit)


def _set_limit(limit: admin_service_pb2.Limit) -> Call[admin_service_pb2.Limit]:
    request = admin_service_pb2.SetLimitRequest(limit=limit)
    return Call(methods.SET_LIMIT, request, lambda response: response.limit)


def set_action_breakpoint(
    action: str, kind: saga_pb2.InvocationKind.ValueType, actor: str, reason: str
) -> Call[admin_service_pb2.ActionBreakpoint]:
    """Set a breakpoint on an action."""
    point = admin_service_pb2.ActionBreakpoint(action=action, kind=kind, actor=actor, reason=reason)
    request = admin_service_pb2.SetActionBreakpointRequest(breakpoint=point)
    return Call(methods.SET_ACTION_BREAKPOINT, request, lambda response: response.breakpoint)


def clear_action_breakpoint(action: str) -> Call[None]:
    """Clear the breakpoint on an action."""
    request = admin_service_pb2.ClearActionBreakpointRequest(action=action)
    return Call(methods.CLEAR_ACTION_BREAKPOINT, request, lambda _: None)


def list_action_breakpoints() -> Call[Sequence[admin_service_pb2.ActionBreakpoint]]:
    """List the breakpoints on actions."""
    request = admin_service_pb2.ListActionBreakpointsRequest()
    return Call(methods.LIST_ACTION_BREAKPOINTS, request, lambda response: response.breakpoints)


def list_limits() -> Call[Sequence[admin_service_pb2.Limit]]:
    """List limits."""
    return Call(methods.LIST_LIMITS, admin_service_pb2.ListLimitsRequest(), lambda response: response.limits)


def hand_off(saga_id: str, to_sec_id: str) -> Call[admin_service_pb2.HandOffResponse]:
    """Hand a saga off to another SEC."""
    request = admin_service_pb2.HandOffRequest(saga_id=saga_id, to_sec_id=to_sec_id)
    return Call(methods.HAND_OFF, request, _itself)


def drain(sec_id: str, within_s: float) -> Call[None]:
    """Make a SEC hand off everything and stop."""
    request = admin_service_pb2.DrainSecRequest(sec_id=sec_id, timeout=duration(timedelta(seconds=within_s)))
    return Call(methods.DRAIN_SEC, request, lambda _response: None, timeout_s=within_s + WAIT_MARGIN_S)


def signal(saga_id: str, name: str, payload: payload_pb2.Payload, request_id: str) -> Call[saga_pb2.Saga]:
    """Send a signal."""
    request = saga_service_pb2.SignalSagaRequest(
        saga_id=saga_id, signal=name, payload=payload, request_id=request_id or new_uuid7()
    )
    return Call(methods.SIGNAL_SAGA, request, _saga)


def resolve(
    saga_id: str,
    node: str,
    resolution: log_pb2.Resolution.ValueType,
    output: payload_pb2.Payload | None,
    actor: str,
    reason: str,
    expected_log_length: int | None = None,
) -> Call[saga_pb2.Saga]:
    """Decide about a node."""
    request = saga_service_pb2.ResolveNodeRequest(
        saga_id=saga_id,
        node=node,
        resolution=resolution,
        by=_attribution(actor, reason),
        output=output,
        expected_log_length=expected_log_length or 0,
    )
    return Call(methods.RESOLVE_NODE, request, _saga)
