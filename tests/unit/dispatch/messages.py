"""Messages of workers, and invocations for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sagaline.v1 import saga_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.entries import Kind
from sagaline_server.core.invocation import Invocation
from sagaline_server.dispatch.session import ActionKey, AttemptKey

ACT: ActionKey = ("act", "1", Kind.ACTION)
UNDO: ActionKey = ("act", "1", Kind.UNDO)
OTHER: ActionKey = ("other", "1", Kind.ACTION)

RUNNING = pb.IN_FLIGHT_STATE_RUNNING
NOT_HELD = pb.IN_FLIGHT_STATE_NOT_HELD


def key(node: str, attempt: int = 1, kind: Kind = Kind.ACTION, saga_id: str = "s") -> AttemptKey:
    return (saga_id, node, kind, attempt)


def ref(of: AttemptKey) -> pb.InvocationRef:
    saga_id, node, kind, attempt = of
    return pb.InvocationRef(saga_id=saga_id, node=node, kind=saga_pb2.InvocationKind.ValueType(kind), attempt=attempt)


def report(
    held: Iterable[AttemptKey] = (), *, not_held: Iterable[AttemptKey] = (), complete: bool = True
) -> pb.InFlightReport:
    entries = [pb.InFlightEntry(ref=ref(each), state=RUNNING) for each in held]
    entries += [pb.InFlightEntry(ref=ref(each), state=NOT_HELD) for each in not_held]
    return pb.InFlightReport(entries=entries, complete=complete)


def hello(
    worker_id: str = "w",
    *,
    epoch: int = 1,
    window: int | Mapping[str, int] = 2,
    actions: Iterable[pb.ActionSpec] | None = None,
    in_flight: pb.InFlightReport | None = None,
) -> pb.Hello:
    """Return a hello of a worker that serves "act", unless told otherwise."""
    windows = {"": window} if isinstance(window, int) else window
    return pb.Hello(
        protocol_version=1,
        worker_id=worker_id,
        stream_epoch=epoch,
        actions=[pb.ActionSpec(action="act")] if actions is None else actions,
        capacity=pb.Capacity(max_in_flight_by_pool=windows),
        in_flight=report() if in_flight is None else in_flight,
    )


def work(worker_id: str, node: str, action: ActionKey = ACT, attempt: int = 1) -> Invocation:
    return Invocation(node, action[2], attempt, worker_id, action[0], action[1], ())


def invocation(of: AttemptKey, payload_bytes: int = 0) -> bytes:
    message = pb.Invocation(ref=ref(of), action="act", version="1")
    if payload_bytes:
        message.inputs["blob"].data = b"x" * payload_bytes
    return message.SerializeToString()
