"""What the states of a saga mean to whoever waits for it."""

from __future__ import annotations

from sagaline.v1 import saga_pb2

_FINAL = frozenset({saga_pb2.SAGA_STATE_SUCCEEDED, saga_pb2.SAGA_STATE_UNWOUND})


def is_final(state: saga_pb2.SagaState.ValueType) -> bool:
    """Say whether a saga in this state has ended."""
    return state in _FINAL
