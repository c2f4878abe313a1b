"""Log entries in one line."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline.cli.entries import entry_columns, entry_line
from sagaline.v1 import failure_pb2, log_pb2, payload_pb2, saga_pb2

FULL = failure_pb2.Failure(type="Full", message="no room")
ONE = payload_pb2.Payload(json="1")
UNKNOWN = log_pb2.ATTEMPT_OUTCOME_UNKNOWN
SECOND = Duration(seconds=1)

CASES: dict[str, tuple[Any, str, str]] = {
    "saga_created": (log_pb2.SagaCreated(paused=True), "", "paused"),
    "attempt_started": (log_pb2.AttemptStarted(node="n", attempt=2, worker_id="w"), "n", "attempt 2 on worker w"),
    "attempt_ended": (
        log_pb2.AttemptEnded(node="n", attempt=2, outcome=UNKNOWN, failure=FULL, retry_delay=SECOND, held=True),
        "n",
        "attempt 2 unknown, Full: no room, again in 1.0s, held for an operator",
    ),
    "node_succeeded": (log_pb2.NodeSucceeded(node="n", attempt=1, output=ONE), "n", "attempt 1, 1"),
    "node_failed": (
        log_pb2.NodeFailed(node="n", attempt=3, failure=FULL, effect_unknown=True),
        "n",
        "attempt 3, effect unknown, Full: no room",
    ),
    "map_expanded": (log_pb2.MapExpanded(node="n", count=5), "n", "5 elements"),
    "unwind_requested": (
        log_pb2.UnwindRequested(cause=log_pb2.UNWIND_CAUSE_REQUESTED, actor="ann", reason="no\nmore"),
        "",
        'requested, by ann, "no\\nmore"',
    ),
    "undo_attempt_started": (
        log_pb2.UndoAttemptStarted(node="n", attempt=1, worker_id="w", stepped=True),
        "n",
        "attempt 1 on worker w, by a step past the breakpoint on its action",
    ),
    "undo_attempt_ended": (log_pb2.UndoAttemptEnded(node="n", attempt=1, outcome=UNKNOWN), "n", "attempt 1 unknown"),
    "node_undone": (log_pb2.NodeUndone(node="n", attempt=1, how=log_pb2.UNDONE_HOW_NOOP), "n", "nothing to undo"),
    "undo_failed": (log_pb2.UndoFailed(node="n", attempt=4, failure=FULL), "n", "attempt 4, Full: no room"),
    "gate_changed": (
        log_pb2.GateChanged(
            paused=True,
            steps=2,
            breakpoints=[
                log_pb2.Breakpoint(node="*"),
                log_pb2.Breakpoint(node="n", kind=saga_pb2.INVOCATION_KIND_UNDO),
            ],
            actor="ann",
        ),
        "",
        "paused, 2 steps, breakpoint *, breakpoint n (undo), by ann",
    ),
    "signal_received": (log_pb2.SignalReceived(signal="go", payload=ONE), "", "go, 1"),
    "owner_changed": (
        log_pb2.OwnerChanged(sec_id="b", from_sec_id="a", how=log_pb2.OWNER_CHANGE_ADOPTED),
        "",
        "adopted by b, from a",
    ),
    "operator_resolved": (
        log_pb2.OperatorResolved(
            node="n", resolution=log_pb2.RESOLUTION_MARK_UNDONE, actor="ann", reason="by hand", expected_log_length=14
        ),
        "n",
        'mark undone, seen at 14, by ann, "by hand"',
    ),
    "saga_finished": (log_pb2.SagaFinished(state=saga_pb2.SAGA_STATE_UNWOUND), "", "unwound"),
    "node_held": (log_pb2.NodeHeld(node="n", attempt=3, failure=FULL), "n", "attempt 3, Full: no room"),
    "fault_injected": (
        log_pb2.FaultInjected(node="n", fault=log_pb2.FAULT_KIND_REPEAT, times=2, actor="ann"),
        "n",
        "repeat, 2 times, by ann",
    ),
    "fault_struck": (
        log_pb2.FaultStruck(node="n", fault=log_pb2.FAULT_KIND_CRASH_BEFORE_RESULT),
        "n",
        "crash before result",
    ),
    "quarantine_changed": (
        log_pb2.QuarantineChanged(quarantined=True, actor="ann", reason="odd"),
        "",
        'set aside, by ann, "odd"',
    ),
}


def test_every_kind_of_entry_has_a_case_here() -> None:
    assert list(CASES) == [field.name for field in log_pb2.LogEntry.DESCRIPTOR.oneofs_by_name["entry"].fields]


@pytest.mark.parametrize("kind", CASES)
def test_each_kind_is_told(kind: str) -> None:
    body, node, particulars = CASES[kind]
    entry = log_pb2.LogEntry(seq=7, **{kind: body})
    assert entry_columns(entry)[2:] == (kind.replace("_", " "), node, particulars)


def test_an_entry_of_an_unknown_kind_is_told_as_such() -> None:
    assert "does not know" in entry_line(log_pb2.LogEntry(seq=7))


def test_values_that_are_not_said_leave_no_trace() -> None:
    assert entry_line(log_pb2.LogEntry(seq=1, saga_created=log_pb2.SagaCreated())) == (
        "    1  1970-01-01 00:00:00.000Z  saga created"
    )
    delay = log_pb2.LogEntry(node_succeeded=log_pb2.NodeSucceeded(node="n"))
    assert entry_columns(delay)[4] == "its time is over"
    never = log_pb2.LogEntry(node_failed=log_pb2.NodeFailed(node="n"))
    assert entry_columns(never)[4] == "not started, no effect"
