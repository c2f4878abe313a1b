"""Invocations: what a worker is sent for an attempt, computed from the state alone."""

from __future__ import annotations

import msgspec

from sagaline_server.core.entries import Kind
from sagaline_server.core.graph import Timeouts
from sagaline_server.core.maps import fall_of
from sagaline_server.core.state import Saga
from sagaline_server.core.timeouts import timeouts_of
from sagaline_server.core.topology import Source
from sagaline_server.core.values import NULL, Failure, Payload, SelectionError


class Invocation(msgspec.Struct, frozen=True, gc=False):
    """One attempt as a worker is to run it. The same bytes of input on every attempt."""

    node: str
    kind: Kind
    attempt: int
    worker_id: str
    action: str
    version: str
    inputs: tuple[tuple[str, Payload], ...]
    timeouts: Timeouts | None = None
    last_progress: Payload | None = None
    """Of an earlier attempt."""
    action_output: Payload | None = None
    """Of an undo: the action's output; None when its outcome is unknown."""
    saga_failure: Failure | None = None
    """Of an undo: why the saga unwinds, or the element of a map that it is in."""


def invocation(saga: Saga, node: int, kind: Kind) -> Invocation:
    """Return the invocation of the last attempt of one side of a node: the one in flight, or just superseded."""
    flat = saga.topology.nodes[node]
    action = flat.action
    assert action is not None
    run = saga.run(node, kind)
    if flat.is_plain and kind is Kind.ACTION and run.progress is None:
        inputs = tuple([(name, saga.resolve(source)) for name, source in flat.inputs])
        return Invocation(flat.name, kind, run.attempt, run.worker_id, action.action, action.version, inputs)
    return Invocation(
        node=flat.name,
        kind=kind,
        attempt=run.attempt,
        worker_id=run.worker_id,
        action=action.action,
        version=action.version,
        inputs=tuple([(name, _input(saga, source, kind)) for name, source in flat.inputs]),
        timeouts=timeouts_of(action, kind),
        last_progress=run.progress,
        action_output=saga.outputs.get(node) if kind is Kind.UNDO else None,
        saga_failure=(fall_of(saga, node) or saga.failure) if kind is Kind.UNDO else None,
    )


def _input(saga: Saga, source: Source, kind: Kind) -> Payload:
    """Return an input; null for an undo of what never had it, because an operator has supplied the output instead."""
    try:
        return saga.resolve(source)
    except SelectionError:
        if kind is Kind.ACTION:
            raise
        return NULL


def idempotency_key(saga_id: str, node: str, kind: Kind) -> str:
    """Return the key that names one side of a node, for ever."""
    return f"{saga_id}/{node}/{'action' if kind is Kind.ACTION else 'undo'}"
