"""What of the features of docs/features.md a seed draws, and what of them is seen when it runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2
from sagaline_server.core.entries import FaultKind, Kind
from tests.simulation.history import Observer, Written
from tests.simulation.options import APART, draw
from tests.simulation.plans import Planner, SagaPlan
from tests.simulation.steering import Deed, draw_deeds

NODES = (
    "action", "constant", "delay", "signal", "signal with a time-out", "subsaga",
    "subsaga with parameters from an output", "map", "map of subsagas", "map in a map", "map over an output",
    "map: max_concurrency", "map: canary", "map: max_failures",
)  # fmt: skip
POLICIES = (
    "input from an output", "input from a field", "retry: attempts", "retry: total time",
    "retry: types not tried again",
    "time-out: start to close", "time-out: schedule to start", "time-out: heartbeat", "time-out of an undo",
    "undo: action", "undo: nothing to do", "can't be undone: hold", "can't be undone: forward-only", "pivot",
    "unknown outcome: retry, then undo", "unknown outcome: undo", "unknown outcome: hold", "types",
)  # fmt: skip
SAGAS = (
    "deadline", "delayed start", "created paused", "labels", "scopes", "result", "created twice",
    "created with other content",
    "watched", "waited for", "run in one call", "handed off", "unwound on request", "paused", "stepped",
    "breakpoint everywhere", "breakpoint at a node", "breakpoint on one side", "signalled", "set aside",
    "injected ACTION_ERROR", "injected UNDO_ERROR", "injected REPEAT", "injected CRASH_BEFORE_RESULT",
)  # fmt: skip
CLUSTER = (
    "several SECs, any of which is asked", "limit: max_in_flight", "limit: starts_per_second", "limit: max_running",
    "limit: max_failing", "limit of 0", "limit lifted", "breakpoint on an action", "batch pause", "batch resume",
    "batch unwind", *APART,
)  # fmt: skip
DRAWN = (*NODES, *POLICIES, *SAGAS, *CLUSTER)
"""Everything that a seed may draw."""

SEEN = (
    "NodeSucceeded", "NodeFailed", "NodeHeld", "MapExpanded", "SignalReceived", "UnwindRequested REQUESTED",
    "UnwindRequested DEADLINE", "NodeUndone ACTION", "NodeUndone NOOP", "UndoFailed", "GateChanged",
    "AttemptEnded UNKNOWN", "AttemptEnded REJECTED", "UndoAttemptEnded UNKNOWN", "OwnerChanged HANDED_OFF",
    "OwnerChanged ADOPTED", "OperatorResolved RETRY", "OperatorResolved MARK_UNDONE", "OperatorResolved MARK_FAILED",
    "OperatorResolved SUPPLY_OUTPUT", "FaultStruck ACTION_ERROR", "FaultStruck UNDO_ERROR", "FaultStruck REPEAT",
    "FaultStruck CRASH_BEFORE_RESULT", "QuarantineChanged", "SagaFinished SUCCEEDED", "SagaFinished UNWOUND",
    "ReportResults",
)  # fmt: skip
"""What happens in a run that is drawn by its course: kinds of entries, and of calls."""

_DETAILS = ("cause", "how", "outcome", "resolution", "fault", "state")


def drawn(seed: int) -> Counter[str]:
    """Count what a seed draws."""
    options = draw(seed)
    found: Counter[str] = Counter({name: 1 for name in APART if name in options.features})
    found["several SECs, any of which is asked"] = options.secs > 1
    for plan in Planner(options).draw():
        found.update(_of_saga(plan))
    for deed in draw_deeds(options):
        found.update(_of_deed(deed))
    return +found


def table(names: Iterable[str], counts: Counter[str], seeds: int) -> str:
    """Return a table of how often each was there."""
    lines = [f"{counts[name]:8} {name}" for name in names]
    return "\n".join([f"over {seeds} seeds:", *lines])


def missing(names: Iterable[str], counts: Counter[str]) -> list[str]:
    """Return what was never there."""
    return [name for name in names if not counts[name]]


class Tally(Observer):
    """Counts what is seen."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.counts: Counter[str] = Counter()

    def written(self, written: Written) -> None:
        for stamped in written.entries:
            name = type(stamped.entry).__name__
            details = [value for detail in _DETAILS if (value := getattr(stamped.entry, detail, None)) is not None]
            self.counts[" ".join([name, *(value.name for value in details[:1])])] += 1


# ---- what is drawn -------------------------------------------------------------------------


def _of_saga(plan: SagaPlan) -> Iterator[str]:
    spec = plan.spec
    yield from _of_graph(spec.graph)
    there = {
        "deadline": spec.HasField("deadline"),
        "delayed start": spec.HasField("start_delay"),
        "created paused": spec.start_paused,
        "labels": bool(spec.labels),
        "scopes": bool(spec.scopes),
        "result": bool(spec.graph.result),
        "created twice": plan.twin == "same",
        "created with other content": plan.twin == "other",
        "watched": bool(plan.watches),
        "waited for": plan.waits,
        "run in one call": plan.runs,
        "handed off": bool(plan.hand_offs),
        "unwound on request": plan.unwind is not None,
        "paused": plan.pause is not None,
        "stepped": plan.steps is not None,
        "breakpoint everywhere": plan.steps is not None,
        "signalled": bool(plan.signals),
        "set aside": plan.aside is not None,
    }
    yield from (name for name, is_there in there.items() if is_there)
    for point in (point for _, points in plan.points for point in points):
        yield "breakpoint at a node"
        if point.kind in (Kind.ACTION, Kind.UNDO):
            yield "breakpoint on one side"
    yield from (f"injected {FaultKind(fault.fault).name}" for _, fault in plan.injections)


def _of_graph(graph: saga_pb2.Graph, *, in_map: bool = False) -> Iterator[str]:
    for node in graph.nodes:
        kind = node.WhichOneof("kind")
        assert kind is not None
        yield kind
        if kind == "action":
            yield from _of_action(node.action)
        elif kind == "signal" and node.signal.HasField("timeout"):
            yield "signal with a time-out"
        elif kind == "subsaga":
            if node.subsaga.params.node:
                yield "subsaga with parameters from an output"
            yield from _of_graph(node.subsaga.graph, in_map=in_map)
        elif kind == "map":
            yield from _of_map(node.map, in_map=in_map)


def _of_map(body: saga_pb2.MapNode, *, in_map: bool) -> Iterator[str]:
    if in_map:
        yield "map in a map"
    if body.items.node:
        yield "map over an output"
    yield from (f"map: {name}" for name in ("max_concurrency", "canary", "max_failures") if getattr(body, name))
    if body.WhichOneof("each") == "action":
        yield from _of_action(body.action)
    else:
        yield "map of subsagas"
        yield from _of_graph(body.subsaga.graph, in_map=True)


def _of_action(action: saga_pb2.ActionNode) -> Iterator[str]:
    for source in action.inputs.values():
        yield "input from an output" if source.node else "input from a field"
    undo, policy = action.undo, action.unknown_policy
    forward = undo.irreversible == saga_pb2.IRREVERSIBLE_POLICY_FORWARD_ONLY
    cannot = "can't be undone: forward-only" if forward else "can't be undone: hold"
    there = {
        "retry: attempts": action.retry.max_attempts > 0,
        "retry: total time": action.retry.HasField("total_timeout"),
        "retry: types not tried again": bool(action.retry.non_retryable_failure_types),
        "time-out: start to close": action.timeouts.HasField("start_to_close"),
        "time-out: schedule to start": action.timeouts.HasField("schedule_to_start"),
        "time-out: heartbeat": action.timeouts.HasField("heartbeat"),
        "time-out of an undo": undo.timeouts.HasField("start_to_close"),
        "undo: action": undo.kind in (saga_pb2.UNDO_KIND_UNSPECIFIED, saga_pb2.UNDO_KIND_ACTION),
        "undo: nothing to do": undo.kind == saga_pb2.UNDO_KIND_NOOP,
        cannot: undo.kind == saga_pb2.UNDO_KIND_NONE and not action.pivot,
        "pivot": action.pivot,
        "unknown outcome: retry, then undo": not policy,
        "unknown outcome: undo": policy == saga_pb2.UNKNOWN_POLICY_UNDO,
        "unknown outcome: hold": policy == saga_pb2.UNKNOWN_POLICY_HOLD,
        "types": action.HasField("output_type"),
    }
    yield from (name for name, is_there in there.items() if is_there)


def _of_deed(deed: Deed) -> Iterator[str]:
    request = deed.request
    if isinstance(request, admin_service_pb2.Limit):
        names = ("max_in_flight", "starts_per_second", "max_running", "max_failing")
        there = {field.name for field, _ in request.ListFields()}
        limits = [name for name in names if name in there]
        yield from (f"limit: {name}" for name in limits)
        if not limits:
            yield "limit lifted"
        if any(not getattr(request, name) for name in limits):
            yield "limit of 0"
    elif isinstance(request, admin_service_pb2.ActionBreakpoint):
        yield "breakpoint on an action"
    elif isinstance(request, saga_service_pb2.BatchControlSagasRequest):
        yield f"batch {saga_service_pb2.BatchControl.Name(request.control).rpartition('_')[2].lower()}"
