"""What waits to be written to a RunSagas stream: results in order, then ends. Bounded, and written in full frames."""

from __future__ import annotations

from collections import deque

from sagaline.v1 import saga_service_pb2
from sagaline_server.core import limits

ENDS_BYTES = 8 * 1024 * 1024
"""Ends that wait for a client that reads slowly. Those beyond are forgotten, and asked for again."""
ITEM_BYTES = 5
"""What an item takes in a frame beside itself: its tag and its length."""
RESULTS_BYTES = 1024 * 1024
"""Results that wait; beyond it nothing more is read from the client."""


class Outbox:
    """Results and ends that are not written yet."""

    def __init__(self) -> None:
        """Make an empty outbox."""
        self._results: deque[tuple[saga_service_pb2.CreateResult, int]] = deque()
        self._results_bytes = 0
        self._ends: deque[tuple[saga_service_pb2.SagaEnd, int]] = deque()
        self._ends_bytes = 0

    @property
    def is_empty(self) -> bool:
        """True when there is nothing to write."""
        return not self._results and not self._ends

    @property
    def takes_results(self) -> bool:
        """False while the client should be read no further."""
        return self._results_bytes < RESULTS_BYTES

    @property
    def takes_ends(self) -> bool:
        """False while the ends of sagas should be forgotten rather than kept."""
        return self._ends_bytes < ENDS_BYTES

    def add_result(self, result: saga_service_pb2.CreateResult) -> None:
        """Add the result of a creation."""
        size = result.ByteSize() + ITEM_BYTES
        self._results.append((result, size))
        self._results_bytes += size

    def add_end(self, end: saga_service_pb2.SagaEnd) -> None:
        """Add the end of a saga."""
        size = end.ByteSize() + ITEM_BYTES
        self._ends.append((end, size))
        self._ends_bytes += size

    def next_frame(self) -> saga_service_pb2.RunSagasResponse:
        """Return a frame of as much as is there and fits, at least one item; the outbox is not empty."""
        room = limits.FRAME_BYTES
        results: list[saga_service_pb2.CreateResult] = []
        while self._results and (self._results[0][1] <= room or not results):
            result, size = self._results.popleft()
            results.append(result)
            room -= size
            self._results_bytes -= size
        ends: list[saga_service_pb2.SagaEnd] = []
        while self._ends and not self._results and (self._ends[0][1] <= room or not (results or ends)):
            end, size = self._ends.popleft()
            ends.append(end)
            room -= size
            self._ends_bytes -= size
        return saga_service_pb2.RunSagasResponse(results=results, ends=ends)
