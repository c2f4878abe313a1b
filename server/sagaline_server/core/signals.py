"""Which node a signal is for. Each is for one: the first that waits for it, or the first that comes to."""

from __future__ import annotations

from sagaline_server.core.entries import SignalReceived
from sagaline_server.core.state import Saga


def receive(saga: Saga, entry: SignalReceived) -> int | None:
    """Give a signal to the node that waits for it, and return that; keep it where none does."""
    if entry.request_id:
        saga.signal_ids |= {entry.request_id}
    for node in saga.topology.signals[entry.signal]:
        if saga.is_waiting(node):
            saga.outputs[node] = entry.payload
            return node
    saga.signals = (*saga.signals, (entry.signal, entry.payload))
    return None


def take(saga: Saga, node: int, signal: str) -> bool:
    """Give a node the first signal that it waits for; False where none has arrived yet."""
    for i, (name, payload) in enumerate(saga.signals):
        if name == signal:
            saga.outputs[node] = payload
            saga.signals = (*saga.signals[:i], *saga.signals[i + 1 :])
            return True
    return False
