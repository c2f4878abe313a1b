"""Log entries to and from their messages, and the batches that are stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from sagaline.v1 import log_pb2
from sagaline_server.core import entries as core
from sagaline_server.wire import encoded
from sagaline_server.wire.breakpoints import breakpoints_from, fill_breakpoints
from sagaline_server.wire.payloads import failure_from, fill_failure, fill_payload, payload_from
from sagaline_server.wire.times import duration, timestamp, to_seconds
from sagaline_server.wire.varints import varint


class UnreadableLog(Exception):
    """Stored bytes that this release can't read as a log: foreign, damaged, or of a newer release.

    Quarantine the saga; the others go on.
    """


def encode_batch(entries: Sequence[core.Stamped], writer_id: bytes) -> bytes:
    """Return the LogBatch of entries that are gapless and of one epoch and time."""
    first = entries[0]
    number = b"\x20" + varint(first.seq)
    parts = [b"\x0a" + varint(len(writer_id)), writer_id, _epoch_and_time(first.epoch, first.time), number]
    for stamped in entries:
        entry = stamped.entry
        kind = type(entry)
        if kind is core.NodeSucceeded:
            parts.append(encoded.success(entry.node, entry.attempt, entry.output))  # type: ignore[union-attr,arg-type]
        else:
            parts.append(_encoded_known(entry) if kind in _REPEATED else _encoded_entry(entry))
    return b"".join(parts)


@lru_cache(64)
def _epoch_and_time(epoch: int, time: float) -> bytes:
    return b"\x10" + varint(epoch) + encoded.field(b"\x1a", encoded.time(time))


def _encoded_entry(entry: core.Entry) -> bytes:
    message = log_pb2.LogEntry()
    _WRITERS[type(entry)](message, entry)
    return encoded.field(b"\x2a", message.SerializeToString())


_encoded_known = lru_cache(4096)(_encoded_entry)
_REPEATED = frozenset(
    {core.AttemptStarted, core.UndoAttemptStarted, core.NodeUndone, core.OwnerChanged, core.SagaFinished}
)
"""Entries that are the same in many sagas: small, of few nodes, workers and SECs."""


def decode_batch(data: bytes) -> list[core.Stamped]:
    """Return the entries of a LogBatch.

    Raises:
        UnreadableLog: It is no LogBatch, or has an entry of an unknown kind.
    """
    try:
        batch = log_pb2.LogBatch.FromString(data)
    except Exception as error:
        raise UnreadableLog("a batch can't be decoded") from error
    time, epoch, first_seq = to_seconds(batch.time), batch.epoch, batch.first_seq
    entries = batch.entries[:]  # in one go: one by one takes half as long again
    return [core.Stamped(seq, epoch, time, _entry(entry, seq)) for seq, entry in enumerate(entries, first_seq)]


def decode_log(batches: Iterable[bytes]) -> list[core.Stamped]:
    """Return all entries of a log.

    Raises:
        UnreadableLog: As `decode_batch`, or there is a gap between batches.
    """
    return decode_part(batches, 1)


def decode_part(batches: Iterable[bytes], from_seq: int) -> list[core.Stamped]:
    """Return the entries of a part of a log, from a number on. Its first batch may begin before that.

    Raises:
        UnreadableLog: As `decode_batch`, or there is a gap between batches, or before the first.
    """
    entries: list[core.Stamped] = []
    following = from_seq
    for i, data in enumerate(batches):
        decoded = decode_batch(data)
        if not decoded:
            continue
        first = decoded[0].seq
        if first > following or (i and first != following):
            raise UnreadableLog(f"entry {following} is missing; the next one is {first}")
        entries += decoded if first == following else [stamped for stamped in decoded if stamped.seq >= from_seq]
        following = max(following, first + len(decoded))
    return entries


def entry_message(stamped: core.Stamped) -> log_pb2.LogEntry:
    """Return the message that clients see of an entry."""
    message = log_pb2.LogEntry(seq=stamped.seq, epoch=stamped.epoch, time=timestamp(stamped.time))
    _fill(message, stamped.entry)
    return message


def entry_from(message: log_pb2.LogEntry) -> core.Stamped:
    """Return the entry that a client-side message carries.

    Raises:
        UnreadableLog: It is of an unknown kind.
    """
    return core.Stamped(message.seq, message.epoch, to_seconds(message.time), _entry(message, message.seq))


def _fill(message: log_pb2.LogEntry, entry: core.Entry) -> None:
    _WRITERS[type(entry)](message, entry)


def _entry(message: log_pb2.LogEntry, seq: int) -> core.Entry:
    kind = message.WhichOneof("entry")
    reader = None if kind is None else _READERS.get(kind)
    if kind is None or reader is None:
        raise UnreadableLog(f"entry {seq} is of kind {kind!r}, which this release does not know")
    try:
        return reader(getattr(message, kind))
    except ValueError as error:
        raise UnreadableLog(f"entry {seq}, {kind}: {error}") from error


# ---- writing ---------------------------------------------------------------------


def _write_attempt_started(message: log_pb2.LogEntry, entry: core.AttemptStarted) -> None:
    out = message.attempt_started
    out.node, out.attempt, out.worker_id, out.stepped = entry.node, entry.attempt, entry.worker_id, entry.stepped


def _write_undo_started(message: log_pb2.LogEntry, entry: core.UndoAttemptStarted) -> None:
    out = message.undo_attempt_started
    out.node, out.attempt, out.worker_id, out.stepped = entry.node, entry.attempt, entry.worker_id, entry.stepped


def _write_ended(message: log_pb2.LogEntry, entry: core.AttemptEnded) -> None:
    out = message.attempt_ended
    out.node, out.attempt = entry.node, entry.attempt
    out.outcome = log_pb2.AttemptOutcome.ValueType(entry.outcome)
    out.answered_late, out.held, out.uncounted = entry.answered_late, entry.held, entry.uncounted
    out.overdue = entry.overdue
    if entry.last_progress is not None:
        fill_payload(out.last_progress, entry.last_progress)
    if entry.failure is not None:
        fill_failure(out.failure, entry.failure)
    if entry.retry_delay is not None:
        out.retry_delay.CopyFrom(duration(entry.retry_delay))


def _write_undo_ended(message: log_pb2.LogEntry, entry: core.UndoAttemptEnded) -> None:
    out = message.undo_attempt_ended
    out.node, out.attempt, out.uncounted, out.overdue = entry.node, entry.attempt, entry.uncounted, entry.overdue
    if entry.last_progress is not None:
        fill_payload(out.last_progress, entry.last_progress)
    out.outcome = log_pb2.AttemptOutcome.ValueType(entry.outcome)
    if entry.failure is not None:
        fill_failure(out.failure, entry.failure)
    if entry.retry_delay is not None:
        out.retry_delay.CopyFrom(duration(entry.retry_delay))


def _write_succeeded(message: log_pb2.LogEntry, entry: core.NodeSucceeded) -> None:
    out = message.node_succeeded
    out.node, out.attempt = entry.node, entry.attempt
    fill_payload(out.output, entry.output)


def _write_failed(message: log_pb2.LogEntry, entry: core.NodeFailed) -> None:
    out = message.node_failed
    out.node, out.attempt, out.effect_unknown = entry.node, entry.attempt, entry.effect_unknown
    fill_failure(out.failure, entry.failure)


def _write_node_held(message: log_pb2.LogEntry, entry: core.NodeHeld) -> None:
    out = message.node_held
    out.node, out.attempt = entry.node, entry.attempt
    fill_failure(out.failure, entry.failure)


def _write_expanded(message: log_pb2.LogEntry, entry: core.MapExpanded) -> None:
    message.map_expanded.node, message.map_expanded.count = entry.node, entry.count


def _write_unwind(message: log_pb2.LogEntry, entry: core.UnwindRequested) -> None:
    out = message.unwind_requested
    out.cause = log_pb2.UnwindCause.ValueType(entry.cause)
    out.actor, out.reason = entry.actor, entry.reason


def _write_undone(message: log_pb2.LogEntry, entry: core.NodeUndone) -> None:
    out = message.node_undone
    out.node, out.attempt, out.how = entry.node, entry.attempt, log_pb2.UndoneHow.ValueType(entry.how)


def _write_undo_failed(message: log_pb2.LogEntry, entry: core.UndoFailed) -> None:
    out = message.undo_failed
    out.node, out.attempt = entry.node, entry.attempt
    fill_failure(out.failure, entry.failure)


def _write_created(message: log_pb2.LogEntry, entry: core.SagaCreated) -> None:
    message.saga_created.digest = entry.digest
    message.saga_created.paused = entry.paused
    if entry.start_delay is not None:
        message.saga_created.start_delay.CopyFrom(duration(entry.start_delay))


def _write_gate(message: log_pb2.LogEntry, entry: core.GateChanged) -> None:
    out = message.gate_changed
    out.paused, out.steps, out.actor, out.reason = entry.paused, entry.steps, entry.actor, entry.reason
    fill_breakpoints(out.breakpoints, entry.breakpoints)
    out.SetInParent()


def _write_signal(message: log_pb2.LogEntry, entry: core.SignalReceived) -> None:
    out = message.signal_received
    out.signal, out.request_id = entry.signal, entry.request_id
    fill_payload(out.payload, entry.payload)


def _write_owner(message: log_pb2.LogEntry, entry: core.OwnerChanged) -> None:
    out = message.owner_changed
    out.sec_id, out.incarnation, out.from_sec_id = entry.sec_id, entry.incarnation, entry.from_sec_id
    out.how = log_pb2.OwnerChange.ValueType(entry.how)


def _write_resolved(message: log_pb2.LogEntry, entry: core.OperatorResolved) -> None:
    out = message.operator_resolved
    out.node, out.actor, out.reason = entry.node, entry.actor, entry.reason
    out.resolution = log_pb2.Resolution.ValueType(entry.resolution)
    out.expected_log_length = entry.expected_log_length
    if entry.output is not None:
        fill_payload(out.output, entry.output)


def _write_injected(message: log_pb2.LogEntry, entry: core.FaultInjected) -> None:
    out = message.fault_injected
    out.node, out.fault, out.times = entry.node, log_pb2.FaultKind.ValueType(entry.fault), entry.times
    out.actor, out.reason = entry.actor, entry.reason


def _write_struck(message: log_pb2.LogEntry, entry: core.FaultStruck) -> None:
    message.fault_struck.node = entry.node
    message.fault_struck.fault = log_pb2.FaultKind.ValueType(entry.fault)


def _write_quarantine(message: log_pb2.LogEntry, entry: core.QuarantineChanged) -> None:
    out = message.quarantine_changed
    out.quarantined, out.actor, out.reason = entry.quarantined, entry.actor, entry.reason
    out.SetInParent()


def _write_finished(message: log_pb2.LogEntry, entry: core.SagaFinished) -> None:
    message.saga_finished.state = int(entry.state)  # type: ignore[assignment]


_WRITERS: dict[type, Callable[[log_pb2.LogEntry, Any], None]] = {
    core.SagaCreated: _write_created,
    core.AttemptStarted: _write_attempt_started,
    core.AttemptEnded: _write_ended,
    core.NodeSucceeded: _write_succeeded,
    core.NodeFailed: _write_failed,
    core.NodeHeld: _write_node_held,
    core.MapExpanded: _write_expanded,
    core.UnwindRequested: _write_unwind,
    core.UndoAttemptStarted: _write_undo_started,
    core.UndoAttemptEnded: _write_undo_ended,
    core.NodeUndone: _write_undone,
    core.UndoFailed: _write_undo_failed,
    core.GateChanged: _write_gate,
    core.SignalReceived: _write_signal,
    core.OwnerChanged: _write_owner,
    core.OperatorResolved: _write_resolved,
    core.FaultInjected: _write_injected,
    core.FaultStruck: _write_struck,
    core.QuarantineChanged: _write_quarantine,
    core.SagaFinished: _write_finished,
}


# ---- reading ---------------------------------------------------------------------


def _read_created(m: log_pb2.SagaCreated) -> core.Entry:
    return core.SagaCreated(m.digest, m.paused, to_seconds(m.start_delay) if m.HasField("start_delay") else None)


def _read_ended(m: log_pb2.AttemptEnded) -> core.Entry:
    return core.AttemptEnded(
        node=m.node,
        attempt=m.attempt,
        outcome=core.Outcome(m.outcome),
        failure=failure_from(m.failure, trusted=True) if m.HasField("failure") else None,
        retry_delay=to_seconds(m.retry_delay) if m.HasField("retry_delay") else None,
        answered_late=m.answered_late,
        held=m.held,
        uncounted=m.uncounted,
        overdue=m.overdue,
        last_progress=payload_from(m.last_progress) if m.HasField("last_progress") else None,
    )


def _read_undo_ended(m: log_pb2.UndoAttemptEnded) -> core.Entry:
    return core.UndoAttemptEnded(
        node=m.node,
        attempt=m.attempt,
        outcome=core.Outcome(m.outcome),
        failure=failure_from(m.failure, trusted=True) if m.HasField("failure") else None,
        retry_delay=to_seconds(m.retry_delay) if m.HasField("retry_delay") else None,
        uncounted=m.uncounted,
        overdue=m.overdue,
        last_progress=payload_from(m.last_progress) if m.HasField("last_progress") else None,
    )


def _read_failed(m: log_pb2.NodeFailed) -> core.Entry:
    return core.NodeFailed(m.node, m.attempt, failure_from(m.failure, trusted=True), m.effect_unknown)


def _read_undo_failed(m: log_pb2.UndoFailed) -> core.Entry:
    return core.UndoFailed(m.node, m.attempt, failure_from(m.failure, trusted=True))


def _read_gate(m: log_pb2.GateChanged) -> core.Entry:
    return core.GateChanged(m.paused, m.actor, m.reason, m.steps, breakpoints_from(m.breakpoints))


def _read_owner(m: log_pb2.OwnerChanged) -> core.Entry:
    return core.OwnerChanged(m.sec_id, m.incarnation, core.OwnerChange(m.how), m.from_sec_id)


def _read_resolved(m: log_pb2.OperatorResolved) -> core.Entry:
    output = payload_from(m.output) if m.HasField("output") else None
    resolution = core.Resolution(m.resolution)
    return core.OperatorResolved(m.node, resolution, m.actor, m.reason, output, m.expected_log_length)


_READERS: dict[str, Callable[[Any], core.Entry]] = {
    "saga_created": _read_created,
    "attempt_started": lambda m: core.AttemptStarted(m.node, m.attempt, intern(m.worker_id), m.stepped),
    "attempt_ended": _read_ended,
    "node_succeeded": lambda m: core.NodeSucceeded(m.node, m.attempt, payload_from(m.output)),
    "node_failed": _read_failed,
    "node_held": lambda m: core.NodeHeld(m.node, m.attempt, failure_from(m.failure, trusted=True)),
    "map_expanded": lambda m: core.MapExpanded(m.node, m.count),
    "unwind_requested": lambda m: core.UnwindRequested(core.UnwindCause(m.cause), m.actor, m.reason),
    "undo_attempt_started": lambda m: core.UndoAttemptStarted(m.node, m.attempt, m.worker_id, m.stepped),
    "undo_attempt_ended": _read_undo_ended,
    "node_undone": lambda m: core.NodeUndone(m.node, m.attempt, core.UndoneHow(m.how)),
    "undo_failed": _read_undo_failed,
    "gate_changed": _read_gate,
    "signal_received": lambda m: core.SignalReceived(m.signal, payload_from(m.payload), m.request_id),
    "owner_changed": _read_owner,
    "operator_resolved": _read_resolved,
    "fault_injected": lambda m: core.FaultInjected(m.node, core.FaultKind(m.fault), m.times, m.actor, m.reason),
    "fault_struck": lambda m: core.FaultStruck(m.node, core.FaultKind(m.fault)),
    "quarantine_changed": lambda m: core.QuarantineChanged(m.quarantined, m.actor, m.reason),
    "saga_finished": lambda m: core.SagaFinished(core.SagaState(m.state)),
}
