"""What follows from a success by itself: parents are counted, and whatever needs nobody's doing passes.

Called by `apply` alone. Going forward, `waiting[n]` is the number of parents
that have not succeeded; at zero a node may start, wait, or pass.
"""

from __future__ import annotations

from sagaline_server.core import signals
from sagaline_server.core.state import Saga
from sagaline_server.core.transitions import Event, follow


def passed(saga: Saga, first: int, time: float) -> None:
    """Count a success, and everything that passes by itself because of it."""
    done = [first]
    while done:
        node = done.pop()
        saga.remaining -= 1
        for child in saga.topology.nodes[node].children:
            saga.waiting[child] -= 1
            if not saga.waiting[child] and _passes(saga, child, time):
                done.append(child)


def unblocked(saga: Saga, node: int, time: float) -> None:
    """Let a node go on whose parents have all succeeded."""
    if _passes(saga, node, time):
        passed(saga, node, time)


def _passes(saga: Saga, node: int, time: float) -> bool:
    """Note that a node's parents have all succeeded; True where that makes it succeed too."""
    flat = saga.topology.nodes[node]
    if flat.action is not None:
        saga.woken.append(node)
        return False
    if flat.value is None and not (flat.signal is not None and signals.take(saga, node, flat.signal)):
        saga.waits[node] = time
        saga.woken.append(node)
        return False
    saga.statuses[node] = follow(saga.statuses[node], Event.PASS)
    return True
