"""User code gets everything that the invocation says of the attempt."""

from __future__ import annotations

import uuid

from sagaline.v1 import failure_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_conformance.kit import Kit
from sagaline_conformance.messages import (
    UNDO,
    expect,
    invocation,
    output,
    payload,
    ref,
    seconds,
)


async def script(kit: Kit) -> None:
    stream = await kit.session()
    labels, trace = {"team": "x"}, {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    stream.invoke(
        invocation(
            ref(attempt=2), "describe", epoch=3, fencing_token=2**53 + 1, labels=labels, trace_context=trace,
            start_to_close=seconds(60.0),
        )
    )  # fmt: skip
    wanted: dict[str, object] = {
        "saga": "s1", "node": "a", "kind": "action", "attempt": 2, "idempotency_key": "s1/a/action",
        "fencing_token": str(2**53 + 1), "epoch": "3", "labels": labels, "trace_context": trace, "has_deadline": True,
        "stable_id": str(uuid.uuid5(uuid.UUID("81a05ee2-a37c-5762-a96f-1edde0101c46"), "s1\na\nx")), "undo": None,
    }  # fmt: skip
    got = output(await kit.result(stream, ref(attempt=2)))
    expect(got == wanted, f"{wanted}, not {got}")
    undo = ref(kind=UNDO)
    context = pb.UndoContext(
        action_outcome=pb.ACTION_OUTCOME_SUCCEEDED,
        action_idempotency_key="s1/a/action",
        action_output=payload({"n": 1}),
        saga_failure=failure_pb2.Failure(type="Declined", message="no money"),
    )
    stream.invoke(invocation(undo, "describe", epoch=3, undo=context))
    await kit.result(stream, undo)
    told = kit.starts(undo)[0]["told"]
    known = {"succeeded": True, "output": {"n": 1}, "failure_type": "Declined", "action_key": "s1/a/action"}
    expect(told["undo"] == known, f"{known}, not {told['undo']}")
    expect(told["stable_id"] == wanted["stable_id"], "the same stable id as the action's")
    expect((told["kind"], told["has_deadline"]) == ("undo", False), "an undo without a deadline")
