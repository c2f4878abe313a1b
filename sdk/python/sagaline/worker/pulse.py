"""The pulse of one stream: our heartbeats, the SEC's frames, and when silence means that the stream is dead.

Three kinds of silence count: no frame comes; frames come, but our heartbeats are not echoed, so the SEC does not
read; and a heartbeat can't even be written.
"""

from __future__ import annotations

from collections import deque

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker.durations import duration_of
from sagaline.worker.limits import Terms
from sagaline.worker.streams import Streams


class Pulse:
    """Nonces grow over all streams of the worker. Times are in seconds."""

    def __init__(self, streams: Streams) -> None:
        self.due = False
        """A heartbeat is to leave with the next frame."""
        self._streams = streams
        self._terms = Terms()
        self._beat_at = 0.0
        self._due_since = 0.0
        self._heard_at = 0.0
        self._unechoed: deque[tuple[int, float]] = deque()
        self._lag_max = 0.0

    def start(self, now: float, terms: Terms) -> None:
        """A stream is open, under these terms."""
        self._terms = terms
        self.due = False
        self._beat_at = now + terms.heartbeat_interval
        self._heard_at = now
        self._unechoed.clear()

    def heard(self, now: float) -> None:
        """Any frame came."""
        self._heard_at = now

    def echoed(self, nonce: int) -> None:
        """The SEC has read everything up to the heartbeat of this nonce."""
        while self._unechoed and self._unechoed[0][0] <= nonce:
            self._unechoed.popleft()

    def hurry(self, now: float) -> None:
        """Let the next heartbeat leave now, unless one is under way: its echo is waited for."""
        if not self.due and not self._unechoed:
            self.due, self._due_since = True, now

    def beat(self, now: float, held: int, unacked_bytes: int) -> pb.Heartbeat:
        """The heartbeat that is due; it leaves now."""
        nonce = self._streams.next_nonce()
        self.due = False
        self._beat_at = now + self._terms.heartbeat_interval
        self._unechoed.append((nonce, now))
        lag, self._lag_max = self._lag_max, 0.0
        return pb.Heartbeat(
            nonce=nonce,
            in_flight_count=held,
            unacked_result_bytes=unacked_bytes,
            max_loop_lag=duration_of(lag),
        )

    def stood_still(self, lag: float) -> None:
        """For so long nothing could have been read or written here: it doesn't count against the SEC."""
        if lag > 0.0:
            self._lag_max = max(lag, self._lag_max)
            self._heard_at += lag
            self._due_since += lag
            self._unechoed = deque((nonce, at + lag) for nonce, at in self._unechoed)

    def tick(self, now: float) -> str | None:
        """Make a heartbeat due; or say why the stream is dead."""
        if now >= self._beat_at and not self.due:
            self.due, self._due_since = True, now
        timeout = self._terms.heartbeat_timeout
        if now >= self._heard_at + timeout:
            return f"no frame for {timeout:g} s"
        if self._unechoed and now >= self._unechoed[0][1] + timeout:
            return f"no echo of a heartbeat for {timeout:g} s"
        if self.due and now >= self._due_since + timeout:
            return f"nothing could be written for {timeout:g} s"
        return None

    def next_deadline(self) -> float:
        """When `tick` has something to do."""
        timeout = self._terms.heartbeat_timeout
        deadline = min(self._heard_at + timeout, self._due_since + timeout if self.due else self._beat_at)
        return min(deadline, self._unechoed[0][1] + timeout) if self._unechoed else deadline
