"""Short ways to say what the scripts say most often."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from google.protobuf.duration_pb2 import Duration

from sagaline.v1 import payload_pb2, saga_pb2
from sagaline.v1 import worker_service_pb2 as pb

ACTION = saga_pb2.INVOCATION_KIND_ACTION
UNDO = saga_pb2.INVOCATION_KIND_UNDO
QUEUED = pb.IN_FLIGHT_STATE_QUEUED
RUNNING = pb.IN_FLIGHT_STATE_RUNNING
PENDING = pb.IN_FLIGHT_STATE_RESULT_PENDING
NOT_HELD = pb.IN_FLIGHT_STATE_NOT_HELD
RECORDED = pb.RESULT_STATUS_RECORDED

INPUTS: Mapping[str, Mapping[str, object]] = {
    "echo": {"value": 1},
    "describe": {"value": 1},
    "fail": {"type": "T", "message": "m"},
    "retry": {"type": "T", "message": "m", "delay_ms": 0},
    "hold": {"type": "T", "message": "m"},
    "crash": {"message": "m"},
    "gate": {"name": "x"},
    "stubborn": {"name": "x"},
    "heeding": {"name": "x"},
    "block": {"name": "x"},
    "progress": {"name": "x"},
    "big": {"bytes": 1},
    "typed": {"order": {"id": "o", "count": 1}},
}
"""What an invocation is given whose script does not care: a SEC sends all inputs of the action, also to its undo."""

Key = tuple[str, str, int, int]


def key(ref: pb.InvocationRef) -> Key:
    """The name of an attempt as a value that can be compared."""
    return ref.saga_id, ref.node, ref.kind, ref.attempt


def ref(saga: str = "s1", node: str = "a", kind: int = ACTION, attempt: int = 1) -> pb.InvocationRef:
    message = pb.InvocationRef(saga_id=saga, node=node, attempt=attempt)
    message.kind = kind  # type: ignore[assignment]  # some scripts name a kind that does not exist
    return message


def seconds(value: float) -> Duration:
    duration = Duration()
    duration.FromTimedelta(timedelta(seconds=value))
    return duration


def payload(value: object) -> payload_pb2.Payload:
    return payload_pb2.Payload(json=json.dumps(value))


def invocation(
    of: pb.InvocationRef, action: str = "echo", inputs: Mapping[str, object] | None = None, **fields: Any
) -> pb.Invocation:
    """What a SEC sends; an input that is a payload already goes as it is."""
    given = INPUTS.get(action, {}) if inputs is None else inputs
    side = "undo" if of.kind == UNDO else "action"
    fields = {"version": "1", "epoch": 1, "fencing_token": of.kind * 1000 + of.attempt, **fields}
    if of.kind == UNDO:
        fields.setdefault(
            "undo",
            pb.UndoContext(
                action_outcome=pb.ACTION_OUTCOME_UNKNOWN, action_idempotency_key=f"{of.saga_id}/{of.node}/action"
            ),
        )
    return pb.Invocation(
        ref=of,
        action=action,
        idempotency_key=f"{of.saga_id}/{of.node}/{side}",
        inputs={
            name: value if isinstance(value, payload_pb2.Payload) else payload(value) for name, value in given.items()
        },
        **fields,
    )


def ack(of: pb.InvocationRef, status: int = RECORDED, **fields: Any) -> pb.ResultAck:
    message = pb.ResultAck(ref=of, **fields)
    message.status = status  # type: ignore[assignment]  # some scripts name a status that does not exist
    return message


def cancellation(of: pb.InvocationRef, reason: int) -> pb.Cancellation:
    message = pb.Cancellation(ref=of)
    message.reason = reason  # type: ignore[assignment]  # some scripts name a reason that does not exist
    return message


def adoption(epoch: int, *refs: pb.InvocationRef) -> pb.Adoption:
    return pb.Adoption(saga_id=refs[0].saga_id, epoch=epoch, refs=refs)


def output(result: pb.InvocationResult) -> Any:
    """The value that an attempt returned."""
    expect(result.HasField("output"), f"an output, not {result}")
    return json.loads(result.output.json)


class Unexpected(Exception):
    """The worker did not behave as it must."""


def expect(condition: object, what: str) -> None:
    """Fail unless it holds."""
    if not condition:
        raise Unexpected(f"expected {what}")
