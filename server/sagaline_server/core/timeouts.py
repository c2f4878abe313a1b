"""When the time of an attempt, or of waiting for a worker, is over. Pure: what there is to know is in the log.

An attempt whose time is over is first asked to stop. Only when its worker has
not answered within the grace is it given up, as unknown; it may be running
even then, and no undo starts beside it until its worker has answered or is lost.
"""

from __future__ import annotations

from sagaline_server.core.entries import Kind
from sagaline_server.core.gate import NO_POINTS, ActionPoints
from sagaline_server.core.graph import ActionNode, Timeouts
from sagaline_server.core.state import Ready, Saga

GRACE_SECONDS = 30.0
"""How long an attempt that was asked to stop may take to answer."""


def timeouts_of(action: ActionNode, kind: Kind) -> Timeouts | None:
    """Return the limits of one side of a node; None: there are none."""
    return action.timeouts if kind is Kind.ACTION else action.undo_timeouts


def stop_at(saga: Saga, node: int, kind: Kind, heard: float) -> float | None:
    """Return when the attempt in flight is to be asked to stop, in seconds since 1970; None: never.

    Args:
        saga: Saga.
        node: Node of which an attempt is in flight.
        kind: Side.
        heard: When its worker last reported progress, as far as this owner knows; 0: never.
    """
    action = saga.topology.nodes[node].action
    limits = None if action is None else timeouts_of(action, kind)
    if limits is None:
        return None
    started = saga.run(node, kind).started
    ends = []
    if limits.start_to_close is not None:
        ends.append(started + limits.start_to_close)
    if limits.heartbeat is not None:
        ends.append(max(started, heard) + limits.heartbeat)
    return min(ends, default=None)


def start_by(saga: Saga, node: int, kind: Kind, points: ActionPoints = NO_POINTS) -> float | None:
    """Return until when a node that could start but for a worker may wait for one; None: for ever.

    Time in which it could not start for another reason, its backoff or the gate, does not count.
    """
    if not saga.ready:
        return None
    action = saga.topology.nodes[node].action
    limits = None if action is None else timeouts_of(action, kind)
    ready = saga.ready.get(node)
    if limits is None or limits.schedule_to_start is None or ready is None or ready.kind is not kind:
        return None
    return max(ready.since, saga.due(node, kind), saga.gate_changed, points.changed) + limits.schedule_to_start


def note_ready(saga: Saga, first: int, time: float) -> None:
    """Note since when those nodes could start that an entry has woken: `saga.woken` from `first` on."""
    for node in saga.woken[first:]:
        kind = saga.startable(node)
        if kind is None:
            continue
        attempt = saga.run(node, kind).attempt + 1
        known = saga.ready.get(node)
        if known is None or (known.kind, known.attempt) != (kind, attempt):
            saga.ready[node] = Ready(kind, attempt, time)
