"""Contexts of attempts, as a worker would make them."""

from __future__ import annotations

from collections.abc import Mapping

from sagaline import Context, encode
from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb

SAGA = "saga-1"
NODE = "seat"
INPUTS = {"flight": "LH 1"}


def action_context(
    token: int = 1,
    *,
    saga: str = SAGA,
    node: str = NODE,
    attempt: int = 1,
    inputs: Mapping[str, object] = INPUTS,
) -> Context:
    """The context of an attempt of an action."""
    ref = pb.InvocationRef(saga_id=saga, node=node, kind=saga_pb2.INVOCATION_KIND_ACTION, attempt=attempt)
    return _context(pb.Invocation(ref=ref, fencing_token=token), inputs)


def undo_context(
    token: int = 100,
    *,
    saga: str = SAGA,
    node: str = NODE,
    attempt: int = 1,
    inputs: Mapping[str, object] = INPUTS,
    succeeded: bool = False,
) -> Context:
    """The context of an attempt of an undo action; `succeeded` where the SEC knows that the action did."""
    ref = pb.InvocationRef(saga_id=saga, node=node, kind=saga_pb2.INVOCATION_KIND_UNDO, attempt=attempt)
    outcome = pb.ACTION_OUTCOME_SUCCEEDED if succeeded else pb.ACTION_OUTCOME_UNKNOWN
    return _context(pb.Invocation(ref=ref, fencing_token=token, undo=pb.UndoContext(action_outcome=outcome)), inputs)


def _context(invocation: pb.Invocation, inputs: Mapping[str, object]) -> Context:
    for name, value in inputs.items():
        invocation.inputs[name].CopyFrom(encode(value))
    return Context(invocation, lambda _progress: None)
