"""Keeps a saga's log whole over broken streams: each entry once, in order, none missing. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from sagaline.client.states import is_final
from sagaline.errors import UnexpectedAnswer
from sagaline.v1 import log_pb2, saga_pb2, saga_service_pb2


class WatchCursor:
    """Where a watch stands: fed with the frames of one stream after the other, it says which entries are new.

    Args:
        saga_id: The saga watched.
        from_seq: First entry wanted, from 1.
    """

    def __init__(self, saga_id: str, from_seq: int = 1) -> None:
        if from_seq < 1:
            raise ValueError(f"from_seq is {from_seq}; entries are numbered from 1")
        self._saga_id = saga_id
        self._next_seq = from_seq
        self._state = saga_pb2.SAGA_STATE_UNSPECIFIED
        self._frames_of_stream = 0

    @property
    def state(self) -> saga_pb2.SagaState.ValueType:
        """The saga's state after the last frame; UNSPECIFIED before the first."""
        return self._state

    def open(self) -> saga_service_pb2.WatchSagaRequest:
        """Return the request of the next stream: it goes on where the last one broke."""
        self._frames_of_stream = 0
        return saga_service_pb2.WatchSagaRequest(saga_id=self._saga_id, from_seq=self._next_seq)

    def receive(self, frame: saga_service_pb2.WatchSagaResponse) -> Sequence[log_pb2.LogEntry]:
        """Return the entries of `frame` that are new.

        Raises:
            UnexpectedAnswer: The frame skips entries. None of it counts: give this stream up and open the next.
        """
        self._frames_of_stream += 1
        new = [entry for entry in frame.entries if entry.seq >= self._next_seq]
        for due, entry in enumerate(new, self._next_seq):
            if entry.seq != due:
                raise UnexpectedAnswer(f"entry {entry.seq} came where {due} was due")
        self._next_seq += len(new)
        self._state = frame.state
        return new

    def is_over(self) -> bool:
        """Say of a stream that its server ended without an error whether the watch is over with it.

        A server ends the stream when the saga has ended. One that says nothing at all has no entry left to send;
        one that was last heard of a running saga is going away, and another stream is due.
        """
        return is_final(self._state) or self._frames_of_stream == 0
