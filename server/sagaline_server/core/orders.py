"""Deciding about what clients and operators ask: orders. What makes no sense now is refused with a code."""

from __future__ import annotations

from sagaline_server.core import faults, limits
from sagaline_server.core.apply import ORDER_EVENTS
from sagaline_server.core.entries import (
    Entry,
    FaultInjected,
    GateChanged,
    Kind,
    OperatorResolved,
    QuarantineChanged,
    Resolution,
    SignalReceived,
    UnwindRequested,
)
from sagaline_server.core.gate import EVERY_NODE, NO_POINTS, ActionPoints, is_place, may_stop
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.growth import members
from sagaline_server.core.inputs import (
    NOTHING,
    Cancel,
    CancelReason,
    Decision,
    InjectFault,
    Order,
    Refusal,
    Resolve,
    SetBreakpoints,
    SetPaused,
    SetQuarantined,
    Signal,
    Step,
    Unwind,
)
from sagaline_server.core.maps import is_bound, scope
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import NodeStatus, next_status

_PIVOT_PASSED = Decision(
    refusal=Refusal(
        "PIVOT_PASSED", "a node that can't be undone has had its effect, or may have: the saga only goes on"
    )
)
_FINISHED = Decision(refusal=Refusal("SAGA_FINISHED", "the saga has ended"))


def is_effect(entry: Entry, given: Order) -> bool:
    """True for an entry that carries an order out. Nobody can tell which of two like orders it was that did."""
    match given:
        case Unwind():
            return isinstance(entry, UnwindRequested)
        case SetPaused():
            return isinstance(entry, GateChanged) and entry.paused == given.paused
        case Step():
            return isinstance(entry, GateChanged) and entry.steps > 0
        case SetBreakpoints():
            return isinstance(entry, GateChanged) and entry.breakpoints == tuple(dict.fromkeys(given.breakpoints))
        case InjectFault():
            return isinstance(entry, FaultInjected) and (entry.node, entry.fault) == (given.node, given.fault)
        case SetQuarantined():
            return isinstance(entry, QuarantineChanged) and entry.quarantined == given.quarantined
        case Signal():
            return isinstance(entry, SignalReceived) and (entry.signal, entry.request_id) == (
                given.signal,
                given.request_id,
            )
        case Resolve():
            return isinstance(entry, OperatorResolved) and (entry.node, entry.resolution) == (
                given.node,
                given.resolution,
            )


def unwind_cancels(saga: Saga, failed: int | None) -> tuple[Cancel, ...]:
    """Tell the actions in flight that the saga turns, or the element of a map that will. They are waited for."""
    if saga.unwinding or (failed is not None and saga.unwinds(failed)):
        return ()
    element = None if failed is None else scope(saga, failed)
    inside = None if element is None else set(members(saga.topology, element))
    return tuple(
        Cancel(node, kind, run.in_flight, run.worker_id, CancelReason.SAGA_UNWINDING)
        for node, kind, run in saga.in_flight()
        if node != failed and kind is Kind.ACTION and (inside is None or node in inside)
    )


def order(saga: Saga, given: Order, points: ActionPoints = NO_POINTS) -> Decision:
    """Decide about an order."""
    match given:
        case Unwind():
            return unwind(saga, given)
        case SetPaused():
            return set_paused(saga, given)
        case Step():
            return step(saga, given, points)
        case SetBreakpoints():
            return set_breakpoints(saga, given, points)
        case Signal():
            return signal(saga, given)
        case Resolve():
            return resolve(saga, given)
        case InjectFault():
            return faults.inject(saga, given)
        case SetQuarantined():
            return set_quarantined(saga, given)


def unwind(saga: Saga, given: Unwind) -> Decision:
    """Decide about `Unwind`."""
    if saga.unwinding:
        return NOTHING
    if saga.finished is not None:
        message = "the saga has succeeded, and what has ended can't be unwound"
        return Decision(refusal=Refusal("SAGA_FINISHED", message))
    if saga.is_committed():
        return _PIVOT_PASSED
    return Decision((UnwindRequested(given.cause, given.actor, given.reason),), unwind_cancels(saga, None))


def set_paused(saga: Saga, given: SetPaused) -> Decision:
    """Decide about `SetPaused`. Steps that are left are of the pause, or of the run to a breakpoint, before it."""
    if saga.finished is not None:
        return _FINISHED
    if saga.paused == given.paused and not saga.steps:
        return NOTHING
    return Decision((GateChanged(given.paused, given.actor, given.reason, breakpoints=saga.breakpoints),))


def set_quarantined(saga: Saga, given: SetQuarantined) -> Decision:
    """Decide about `SetQuarantined`."""
    if saga.finished is not None:
        return _FINISHED
    if given.quarantined == (saga.quarantined is not None):
        return NOTHING
    return Decision((QuarantineChanged(given.quarantined, given.actor, given.reason),))


def step(saga: Saga, given: Step, points: ActionPoints) -> Decision:
    """Decide about `Step`. Steps add up, so that nobody's are lost."""
    if saga.finished is not None:
        return _FINISHED
    if not saga.paused and not saga.breakpoints and not may_stop(saga, points):
        message = "the gate holds nothing: pause the saga, or set a breakpoint, and then step"
        return Decision(refusal=Refusal("SAGA_NOT_PAUSED", message))
    steps = min(saga.steps + given.steps, limits.STEPS)
    return Decision((GateChanged(saga.paused, given.actor, given.reason, steps, saga.breakpoints),))


def set_breakpoints(saga: Saga, given: SetBreakpoints, points: ActionPoints) -> Decision:
    """Decide about `SetBreakpoints`."""
    if saga.finished is not None:
        return _FINISHED
    for point in given.breakpoints:
        if not is_place(saga.topology, point.node):
            message = f"the saga has no node {point.node[:128]!r}; a breakpoint names one, or {EVERY_NODE!r} for all"
            return Decision(refusal=Refusal("NODE_NOT_FOUND", message))
    breakpoints = tuple(dict.fromkeys(given.breakpoints))
    if breakpoints == saga.breakpoints:
        return NOTHING
    # Steps that nothing has taken are not for what comes to be held only now.
    steps = saga.steps if saga.paused or (saga.breakpoints and breakpoints) or may_stop(saga, points) else 0
    return Decision((GateChanged(saga.paused, given.actor, given.reason, steps, breakpoints),))


def signal(saga: Saga, given: Signal) -> Decision:
    """Decide about `Signal`. One signal is for one node; more than there are nodes for it are refused."""
    places = saga.topology.signals.get(given.signal)
    if places is None:
        message = f"no node of the saga waits for the signal {given.signal[:128]!r}"
        return Decision(refusal=Refusal("SIGNAL_NOT_FOUND", message))
    if given.request_id and given.request_id in saga.signal_ids:
        return NOTHING
    if saga.finished is not None:
        return _FINISHED
    left = sum(saga.statuses[node] == NodeStatus.PENDING for node in places)
    kept = sum(name == given.signal for name, _ in saga.signals)
    if saga.unwinding or (left <= kept and not (kept < limits.SIGNALS_KEPT and _may_come(saga, given.signal))):
        message = "the saga unwinds, or as many signals of that name have arrived as there are nodes for them"
        return Decision(refusal=Refusal("SIGNAL_NOT_AWAITED", message))
    return Decision((SignalReceived(given.signal, given.payload, given.request_id),))


def _may_come(saga: Saga, signal: str) -> bool:
    """True when a map that has not grown yet may have nodes that wait for a signal."""
    return any(
        flat.map is not None and signal in flat.map.template.signals and saga.statuses[node] == NodeStatus.PENDING
        for node, flat in enumerate(saga.topology.nodes)
        if node not in saga.maps
    )


def resolve(saga: Saga, given: Resolve) -> Decision:
    """Decide about `Resolve`."""
    node = saga.topology.index.get(given.node)
    flat = None if node is None else saga.topology.nodes[node]
    if node is None or flat is None or (flat.action is None and flat.map is None):
        return Decision(refusal=Refusal("NODE_NOT_FOUND", f"the saga has no action node {given.node[:128]!r}"))
    if saga.finished is not None:
        return _FINISHED
    if 0 < given.expected_log_length < saga.seq:
        message = f"the log has {saga.seq} entries, not {given.expected_log_length}: look again, and decide then"
        return Decision(refusal=Refusal("SAGA_CHANGED", message))
    action, status = flat.action, saga.status(node)
    is_vain = action is None and given.resolution is Resolution.RETRY  # a map's list stays what it is
    if is_vain or next_status(status, ORDER_EVENTS[given.resolution]) is None:
        message = f"node {given.node!r} is {status.name}; {given.resolution.name} does not apply to that"
        return Decision(refusal=Refusal("NODE_NOT_RESOLVABLE", message))
    is_irreversible = action is not None and action.undo is UndoKind.NONE
    if status is NodeStatus.UNDO_FAILED and given.resolution is Resolution.RETRY and is_irreversible:
        message = f"node {given.node!r} can't be undone; once that is seen to by hand, mark it undone"
        return Decision(refusal=Refusal("NODE_NOT_RESOLVABLE", message))
    if given.resolution is Resolution.MARK_FAILED and not saga.unwinds(node) and is_bound(saga, node):
        return _PIVOT_PASSED
    if given.resolution is Resolution.SUPPLY_OUTPUT and given.output is None:
        return Decision(refusal=Refusal("OUTPUT_MISSING", "SUPPLY_OUTPUT comes with the output"))
    entry = OperatorResolved(
        given.node, given.resolution, given.actor, given.reason, given.output, given.expected_log_length
    )
    cancels = unwind_cancels(saga, node) if given.resolution is Resolution.MARK_FAILED else ()
    return Decision((entry,), cancels)
