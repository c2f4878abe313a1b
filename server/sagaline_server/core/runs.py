"""What entries do to the attempts of one side of a node. Every function returns a new `Run`."""

from __future__ import annotations

import msgspec

from sagaline_server.core.entries import AttemptEnded, Outcome, UndoAttemptEnded
from sagaline_server.core.state import Run
from sagaline_server.core.values import Failure, FailureSource


def started(old: Run, worker_id: str, time: float) -> Run:
    """The next attempt has gone to a worker."""
    attempt = old.attempt + 1
    return Run(
        attempt=attempt,
        in_flight=attempt,
        worker_id=worker_id,
        counted=old.counted + 1,
        sent=old.sent + 1,
        unanswered=old.unanswered,
        lingering=old.lingering,
        first_start=old.first_start or time,
        started=time,
        rejections=old.rejections,
        failure=old.failure,
        progress=old.progress,
    )


def ended(run: Run, entry: AttemptEnded | UndoAttemptEnded, time: float) -> Run:
    """An attempt has ended, or been given up, without deciding its node."""
    rejected = entry.outcome is Outcome.REJECTED
    current = entry.attempt == run.in_flight
    lost = entry.failure is not None and entry.failure.source is FailureSource.WORKER_LOST
    unanswered = tuple(attempt for attempt in run.unanswered if attempt != entry.attempt)
    lingering = run.lingering and tuple(one for one in run.lingering if one[0] != entry.attempt)
    lingers = entry.overdue and isinstance(entry, AttemptEnded)
    counted = run.counted - (rejected or entry.uncounted)
    return Run(
        attempt=run.attempt,
        in_flight=0 if current else run.in_flight,
        worker_id=run.worker_id,
        counted=counted,
        sent=run.sent - rejected,
        unanswered=(*unanswered, entry.attempt) if lost or entry.overdue else unanswered,
        lingering=(*lingering, (entry.attempt, run.worker_id)) if lingers else lingering,
        overlapped=run.overlapped or (entry.outcome is Outcome.UNKNOWN and entry.attempt < run.attempt),
        first_start=0.0 if rejected and not counted else run.first_start,
        started=run.started,
        due=time + (entry.retry_delay or 0.0) if current else run.due,
        rejections=run.rejections + 1 if rejected else 0,
        failure=entry.failure or run.failure,
        progress=entry.last_progress or run.progress,
    )


def answered(run: Run, attempt: int) -> Run:
    """An attempt has decided its node."""
    return Run(
        run.attempt,
        0 if attempt == run.in_flight else run.in_flight,
        run.worker_id,
        run.counted,
        run.sent,
        tuple(left for left in run.unanswered if left != attempt) if run.unanswered else (),
        run.lingering and tuple(one for one in run.lingering if one[0] != attempt),
        run.overlapped,
        run.first_start,
        run.started,
        failure=run.failure,
        progress=run.progress,
    )


def failed(run: Run, attempt: int, failure: Failure) -> Run:
    """The node failed with the answer of an attempt; 0: without one, and what is unanswered may still be answered."""
    return msgspec.structs.replace(answered(run, attempt) if attempt else run, failure=failure)


def given_up(run: Run) -> Run:
    """Nobody waits any more for an attempt in flight."""
    if not run.in_flight:
        return run
    return msgspec.structs.replace(run, in_flight=0, unanswered=(*run.unanswered, run.in_flight))


def reordered(run: Run) -> Run:
    """An operator's order starts the policy anew."""
    return msgspec.structs.replace(run, counted=0, first_start=0.0, due=0.0)
