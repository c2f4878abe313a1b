"""Runs many sagas over one RunSagas stream and survives its breaking: what to send, what was answered. No I/O.

A saga is *outstanding* from the moment it is added until its end is known. When a stream breaks, the next one is told
of all outstanding sagas: those known to be durable are followed by id, the others are sent again, which is safe
because each has an id. So every saga ends exactly once here, however many streams it takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

from sagaline.client.ends import Ended, not_succeeded_by
from sagaline.client.sagas import Batcher, NewSaga
from sagaline.client.status import from_batch_error
from sagaline.errors import RpcError, Unavailable, UnexpectedAnswer
from sagaline.v1 import saga_service_pb2

R = TypeVar("R")

FOLLOWED_PER_FRAME_MAX = 1_000
"""What the protocol allows."""


class RunBook(Generic[R]):
    """The outstanding sagas of one run, and what of them is under way on the present stream.

    Args:
        window: Most sagas outstanding at once.
        or_needs_operator: True: a saga that needs an operator is outstanding no more, and is among those that ended.
    """

    def __init__(self, window: int, *, or_needs_operator: bool = False) -> None:
        if window < 1:
            raise ValueError(f"window is {window}; at least one saga must be outstanding")
        self._window = window
        self._or_needs_operator = or_needs_operator
        self._outstanding: dict[str, NewSaga[R]] = {}
        self._durable: set[str] = set()
        self._batcher = Batcher(stream=True)
        self._unfollowed: deque[str] = deque()
        self._unanswered: deque[str] = deque()
        self._trouble: RpcError | None = None
        self._progress = 0

    @property
    def room(self) -> int:
        """How many more sagas may be added now."""
        return self._window - len(self._outstanding)

    def is_idle(self) -> bool:
        """Say whether every saga that was added has ended."""
        return not self._outstanding

    @property
    def progress(self) -> int:
        """How often a saga came further: was durable, or ended. It grows as long as the run gets on."""
        return self._progress

    @property
    def trouble(self) -> RpcError | None:
        """Why the present stream is of no more use, though it has not broken; None if it is."""
        return self._trouble

    def add(self, saga: NewSaga[R]) -> None:
        """Take on one more saga.

        Raises:
            ValueError: A saga of that id is outstanding already.
        """
        if saga.saga_id in self._outstanding:
            raise ValueError(f"two sagas of one run have the id {saga.saga_id!r}")
        self._outstanding[saga.saga_id] = saga
        self._batcher.add(saga)

    def fill(self, source: Iterator[NewSaga[R]]) -> None:
        """Take as many sagas from `source` as there is room for.

        Raises:
            ValueError: As `add`.
        """
        while self.room > 0:
            saga = next(source, None)
            if saga is None:
                return
            self.add(saga)

    def drop(self, saga_id: str) -> None:
        """Take no more interest in a saga. If it was not sent yet, it never is."""
        saga = self._outstanding.pop(saga_id, None)
        if saga is not None:
            self._durable.discard(saga_id)
            self._batcher.drop(saga)

    def restart(self) -> None:
        """Begin a new stream: what the last one had not answered may or may not have arrived."""
        self._trouble = None
        self._batcher = Batcher(stream=True)
        self._unanswered.clear()
        self._unfollowed.clear()
        for saga_id, saga in self._outstanding.items():
            if saga_id in self._durable:
                self._unfollowed.append(saga_id)
            else:
                self._batcher.add(saga)

    def next_frame(self) -> saga_service_pb2.RunSagasRequest | None:
        """Return the next frame to send; None if there is nothing to say at present."""
        if self._unfollowed:
            count = min(len(self._unfollowed), FOLLOWED_PER_FRAME_MAX)
            follow_ids = [self._unfollowed.popleft() for _ in range(count)]
            return saga_service_pb2.RunSagasRequest(follow_ids=follow_ids, or_needs_operator=self._or_needs_operator)
        batch = self._batcher.next_batch()
        if batch is None:
            return None
        self._unanswered.extend(spec.saga_id for spec in batch.specs)
        return saga_service_pb2.RunSagasRequest(
            graphs=batch.graphs, sagas=batch.specs, or_needs_operator=self._or_needs_operator
        )

    def receive(self, frame: saga_service_pb2.RunSagasResponse) -> list[Ended[R]]:
        """Return the sagas that ended, refused ones among them. Afterwards look at `trouble`."""
        ended: list[Ended[R]] = []
        for result in frame.results:
            self._created(result, ended)
        for end in frame.ends:
            self._ended(end, ended)
        return ended

    def _created(self, result: saga_service_pb2.CreateResult, ended: list[Ended[R]]) -> None:
        expected = self._unanswered.popleft() if self._unanswered else None
        if expected is None or result.saga_id not in (expected, ""):
            self._trouble = UnexpectedAnswer(
                f"the result of {result.saga_id!r} came where that of {expected!r} was due"
            )
        elif result.HasField("error"):
            self._refused(expected, result.error, ended)
        elif expected in self._outstanding:
            self._progress += 1
            self._durable.add(expected)

    def _ended(self, end: saga_service_pb2.SagaEnd, ended: list[Ended[R]]) -> None:
        if end.HasField("error"):
            self._refused(end.saga_id, end.error, ended)
            return
        saga = self._take(end.saga_id)
        if saga is None:
            return
        if end.needs_operator:
            ended.append(Ended.refused(saga, not_succeeded_by(end)))
        else:
            ended.append(Ended.of_end(saga, end))

    def _refused(self, saga_id: str, problem: saga_service_pb2.BatchError, ended: list[Ended[R]]) -> None:
        error = from_batch_error(problem)
        if isinstance(error, Unavailable):
            # It says nothing of the saga: on the next stream it is sent or followed again.
            self._trouble = error
            return
        saga = self._take(saga_id)
        if saga is not None:
            ended.append(Ended.refused(saga, error))

    def _take(self, saga_id: str) -> NewSaga[R] | None:
        """Return the saga, outstanding no more; None for a second word on its end, which adds nothing."""
        self._progress += 1
        self._durable.discard(saga_id)
        return self._outstanding.pop(saga_id, None)
