"""Makes one wait of any length out of calls that each have a deadline. No I/O; times as in `repeating`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sagaline.client import calls
from sagaline.client.calls import WAIT_SLICE_S, Call
from sagaline.client.ends import not_succeeded
from sagaline.client.sagas import NewSaga
from sagaline.client.states import is_final
from sagaline.v1 import saga_pb2

EARLY_ANSWER_PAUSE_S = 1.0
"""A SEC that answers before its time, the saga still going on, is asked again after up to this long."""


@dataclass(slots=True)
class Waiting:
    """One wait for a saga."""

    saga_id: str
    started_s: float
    timeout_s: float | None
    """How long to wait; None is without bound."""
    or_needs_operator: bool
    """True: also stop waiting when only an operator can bring it further."""

    def first_call(self, new: NewSaga[Any], now_s: float) -> Call[saga_pb2.Saga]:
        """Return the call that creates the saga, and waits for the first slice."""
        return calls.run(new, self._remaining_s(now_s), or_needs_operator=self.or_needs_operator)

    def next_call(self, now_s: float) -> Call[saga_pb2.Saga]:
        """Return the call that waits for the next slice of the time that remains."""
        return calls.wait(self.saga_id, self._remaining_s(now_s), or_needs_operator=self.or_needs_operator)

    def _remaining_s(self, now_s: float) -> float | None:
        return None if self.timeout_s is None else self.started_s + self.timeout_s - now_s

    def is_over(self, saga: saga_pb2.Saga, now_s: float) -> bool:
        """Say whether the saga is what was waited for.

        Raises:
            SagaUnfinished: It is not, and the time is over.
        """
        if is_final(saga.state) or (self.or_needs_operator and saga.needs_operator):
            return True
        if self.timeout_s is not None and now_s >= self.started_s + self.timeout_s:
            raise not_succeeded(saga)
        return False

    def pause_s(self, asked_s: float, now_s: float, draw: float) -> float:
        """Return how long to wait before the next call; `asked_s` is when the last one was made."""
        return draw * EARLY_ANSWER_PAUSE_S if now_s - asked_s < WAIT_SLICE_S / 2 else 0.0
