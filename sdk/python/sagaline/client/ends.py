"""What became of a saga, as the client tells it: its result, or the error that says why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sagaline.client.sagas import NewSaga
from sagaline.errors import (
    FailureInfo,
    RpcError,
    SagaHeld,
    SagaNotSucceeded,
    SagaQuarantined,
    SagaStuck,
    SagaUnfinished,
    SagaUnwound,
)
from sagaline.v1 import failure_pb2, payload_pb2, saga_pb2, saga_service_pb2

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Created(Generic[R]):
    """What became of a creation."""

    new: NewSaga[R] = field(repr=False)
    """What was asked for."""
    existed: bool = False
    """True: a saga of this id and content was there already."""
    saga: saga_pb2.Saga | None = field(default=None, repr=False)
    """The saga as it stood then, in the BASIC view; None from `create_many`."""
    error: RpcError | None = None
    """Why it was refused; only from `create_many`. None: it is durable."""

    @property
    def saga_id(self) -> str:
        """Its id."""
        return self.new.saga_id


@dataclass(frozen=True, slots=True)
class Ended(Generic[R]):
    """The end of one saga of many."""

    new: NewSaga[R] = field(repr=False)
    """What was asked for."""
    state: saga_pb2.SagaState.ValueType = saga_pb2.SAGA_STATE_UNSPECIFIED
    """SUCCEEDED or UNWOUND; UNSPECIFIED where `error` is set."""
    failure: FailureInfo | None = None
    """Why it unwound."""
    error: RpcError | SagaNotSucceeded | None = None
    """Why it was refused, or cannot be followed."""
    output: payload_pb2.Payload = field(default_factory=payload_pb2.Payload, repr=False)
    """Output of the result node, as it came."""
    failed_node: str = ""
    """The node that failed first."""

    @classmethod
    def of_end(cls, new: NewSaga[R], end: saga_service_pb2.SagaEnd) -> Ended[R]:
        """Return what the stream told of a saga's end."""
        failure = failure_info(end.failure) if end.HasField("failure") else None
        return cls(new, end.state, failure, output=end.output, failed_node=end.failed_node)

    @classmethod
    def refused(cls, new: NewSaga[R], error: RpcError | SagaNotSucceeded) -> Ended[R]:
        """Return the end of a saga that never began, or that cannot be followed."""
        return cls(new, error=error)

    @property
    def saga_id(self) -> str:
        """Its id."""
        return self.new.saga_id

    @property
    def succeeded(self) -> bool:
        """Whether there is a result."""
        return self.state == saga_pb2.SAGA_STATE_SUCCEEDED

    def result(self) -> R:
        """Return the decoded result.

        Raises:
            SagaUnwound: It unwound.
            RpcError: It was refused, or cannot be followed.
            ConversionError: The output is not of the graph's result type.
        """
        if self.error is not None:
            raise self.error
        if not self.succeeded:
            raise _not_succeeded(self.saga_id, self.state, self.failed_node, self.failure, needs_operator=False)
        return self.new.decode(self.output)


def result_of(new: NewSaga[R], saga: saga_pb2.Saga) -> R:
    """Return the decoded result of a saga as it stands.

    Raises:
        SagaNotSucceeded: It has none; the class says why.
        ConversionError: The output is not of the graph's result type.
    """
    if saga.state != saga_pb2.SAGA_STATE_SUCCEEDED:
        raise not_succeeded(saga)
    return new.decode(saga.output)


def not_succeeded(saga: saga_pb2.Saga) -> SagaNotSucceeded:
    """Return the error that says why a saga has no result, or none yet."""
    failure = failure_info(saga.failure) if saga.HasField("failure") else None
    return _not_succeeded(saga.saga_id, saga.state, saga.failed_node, failure, needs_operator=saga.needs_operator)


def not_succeeded_by(end: saga_service_pb2.SagaEnd) -> SagaNotSucceeded:
    """Return the error that says why a saga of a stream has no result, or none yet."""
    failure = failure_info(end.failure) if end.HasField("failure") else None
    return _not_succeeded(end.saga_id, end.state, end.failed_node, failure, needs_operator=end.needs_operator)


def _not_succeeded(
    saga_id: str,
    state: saga_pb2.SagaState.ValueType,
    failed_node: str,
    failure: FailureInfo | None,
    *,
    needs_operator: bool,
) -> SagaNotSucceeded:
    kind, what = _why(state, needs_operator=needs_operator)
    return kind(_sentence(saga_id, what, failure), saga_id=saga_id, failed_node=failed_node, failure=failure)


def _why(state: saga_pb2.SagaState.ValueType, *, needs_operator: bool) -> tuple[type[SagaNotSucceeded], str]:
    if state == saga_pb2.SAGA_STATE_UNWOUND:
        return SagaUnwound, "is unwound"
    if state == saga_pb2.SAGA_STATE_STUCK:
        return SagaStuck, "is stuck: an undo failed for good"
    if state == saga_pb2.SAGA_STATE_QUARANTINED:
        return SagaQuarantined, "is quarantined: its log breaks the rules"
    if needs_operator:
        return SagaHeld, "is held: an action asked for an operator"
    return SagaUnfinished, "goes on: the time to wait is over"


def failure_info(failure: failure_pb2.Failure) -> FailureInfo:
    """Return a failure as the SDK tells it."""
    return FailureInfo(failure.type, failure.message)


def _sentence(saga_id: str, what: str, failure: FailureInfo | None) -> str:
    return f"saga {saga_id} {what} ({failure})" if failure is not None else f"saga {saga_id} {what}"
