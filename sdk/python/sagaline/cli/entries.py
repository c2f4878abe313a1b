"""Says a log entry in one line for people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sagaline.cli.text import clean, duration_text, enum_text, failure_text, payload_text, time_text
from sagaline.v1 import log_pb2, saga_pb2


def entry_columns(entry: log_pb2.LogEntry) -> tuple[str, str, str, str, str]:
    """Return sequence number, time, what happened, the node it is about ("" if none), and the particulars."""
    kind = entry.WhichOneof("entry")
    if kind is None:
        return str(entry.seq), time_text(entry.time), "?", "", "an entry of a kind this program does not know"
    body = getattr(entry, kind)
    node = clean(body.node) if "node" in body.DESCRIPTOR.fields_by_name else ""
    tell = _TELL.get(kind)
    return str(entry.seq), time_text(entry.time), kind.replace("_", " "), node, tell(body) if tell else ""


def entry_line(entry: log_pb2.LogEntry) -> str:
    """Return the columns as one line."""
    seq, time, event, node, particulars = entry_columns(entry)
    return f"{seq:>5}  {time}  {event:<20}  {node:<20}  {particulars}".rstrip()


def _created(body: log_pb2.SagaCreated) -> str:
    return "paused" if body.paused else ""


def _started(body: log_pb2.AttemptStarted | log_pb2.UndoAttemptStarted) -> str:
    if not body.worker_id:
        return f"attempt {body.attempt} is not sent"
    step = ", by a step past the breakpoint on its action" if body.stepped else ""
    return f"attempt {body.attempt} on worker {clean(body.worker_id)}{step}"


def _ended(body: log_pb2.AttemptEnded | log_pb2.UndoAttemptEnded) -> str:
    outcome = enum_text(log_pb2.AttemptOutcome.DESCRIPTOR, body.outcome)
    parts = [f"attempt {body.attempt} {outcome}", failure_text(body.failure)]
    if body.HasField("retry_delay"):
        parts.append(f"again in {duration_text(body.retry_delay)}")
    if isinstance(body, log_pb2.AttemptEnded):
        parts.append("held for an operator" if body.held else "")
        parts.append("after it was given up" if body.answered_late else "")
    parts.append("its worker has not answered" if body.overdue else "")
    return _joined(*parts)


def _succeeded(body: log_pb2.NodeSucceeded) -> str:
    by = f"attempt {body.attempt}" if body.attempt else "its time is over"
    return _joined(by, payload_text(body.output) if body.HasField("output") else "")


def _failed(body: log_pb2.NodeFailed) -> str:
    attempt = f"attempt {body.attempt}" if body.attempt else "not started"
    return _joined(attempt, "effect unknown" if body.effect_unknown else "no effect", failure_text(body.failure))


def _held(body: log_pb2.NodeHeld) -> str:
    return _joined(f"attempt {body.attempt}" if body.attempt else "not started", failure_text(body.failure))


def _expanded(body: log_pb2.MapExpanded) -> str:
    return f"{body.count} elements"


def _unwind(body: log_pb2.UnwindRequested) -> str:
    cause = enum_text(log_pb2.UnwindCause.DESCRIPTOR, body.cause)
    return _joined(cause, _by(body.actor, body.reason))


def _undone(body: log_pb2.NodeUndone) -> str:
    how = {
        log_pb2.UNDONE_HOW_ACTION: f"attempt {body.attempt}",
        log_pb2.UNDONE_HOW_NOOP: "nothing to undo",
    }
    return how.get(body.how, "")


def _undo_failed(body: log_pb2.UndoFailed) -> str:
    return _joined(f"attempt {body.attempt}", failure_text(body.failure))


def _gate(body: log_pb2.GateChanged) -> str:
    parts = ["paused" if body.paused else "open"]
    if body.steps:
        parts.append(f"{body.steps} steps")
    parts += [f"breakpoint {breakpoint_text(point)}" for point in body.breakpoints]
    return _joined(*parts, _by(body.actor, body.reason))


def breakpoint_text(point: log_pb2.Breakpoint) -> str:
    """Say where a breakpoint is."""
    if point.kind == saga_pb2.INVOCATION_KIND_UNSPECIFIED:
        return clean(point.node)
    return f"{clean(point.node)} ({enum_text(saga_pb2.InvocationKind.DESCRIPTOR, point.kind)})"


def _signal(body: log_pb2.SignalReceived) -> str:
    return _joined(clean(body.signal), payload_text(body.payload) if body.HasField("payload") else "")


def _owner(body: log_pb2.OwnerChanged) -> str:
    how = enum_text(log_pb2.OwnerChange.DESCRIPTOR, body.how)
    return _joined(f"{how} by {clean(body.sec_id)}", f"from {clean(body.from_sec_id)}" if body.from_sec_id else "")


def _resolved(body: log_pb2.OperatorResolved) -> str:
    decision = enum_text(log_pb2.Resolution.DESCRIPTOR, body.resolution)
    seen = f"seen at {body.expected_log_length}" if body.expected_log_length else ""
    return _joined(decision, seen, _by(body.actor, body.reason))


def _injected(body: log_pb2.FaultInjected) -> str:
    times = f"{body.times} times" if body.times > 1 else ""
    return _joined(enum_text(log_pb2.FaultKind.DESCRIPTOR, body.fault), times, _by(body.actor, body.reason))


def _struck(body: log_pb2.FaultStruck) -> str:
    return enum_text(log_pb2.FaultKind.DESCRIPTOR, body.fault)


def _quarantine(body: log_pb2.QuarantineChanged) -> str:
    return _joined("set aside" if body.quarantined else "released", _by(body.actor, body.reason))


def _finished(body: log_pb2.SagaFinished) -> str:
    return enum_text(saga_pb2.SagaState.DESCRIPTOR, body.state)


def _by(actor: str, reason: str) -> str:
    return _joined(f"by {clean(actor)}" if actor else "", f'"{clean(reason)}"' if reason else "")


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


_TELL: dict[str, Callable[[Any], str]] = {
    "saga_created": _created,
    "attempt_started": _started,
    "attempt_ended": _ended,
    "node_succeeded": _succeeded,
    "node_failed": _failed,
    "node_held": _held,
    "map_expanded": _expanded,
    "unwind_requested": _unwind,
    "undo_attempt_started": _started,
    "undo_attempt_ended": _ended,
    "node_undone": _undone,
    "undo_failed": _undo_failed,
    "gate_changed": _gate,
    "signal_received": _signal,
    "owner_changed": _owner,
    "operator_resolved": _resolved,
    "fault_injected": _injected,
    "fault_struck": _struck,
    "quarantine_changed": _quarantine,
    "saga_finished": _finished,
}
