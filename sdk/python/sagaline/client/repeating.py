"""Decides whether and when a failed call is made again. Pure: the time and the random draw are arguments.

A call is repeated only if its method is safe to repeat and its error says nothing of the request itself: no SEC could
be reached, the connection broke, the SEC ended before it began, or it asked for a later try. One that was not sent is
repeated whatever its method. Two bounds hold: a unary call's timeout covers all its attempts, and no call goes on
failing for longer than the client's patience. Where there are several addresses, each is tried once before the first
wait.
"""

from __future__ import annotations

from dataclasses import dataclass

from sagaline.errors import CallStopped, CallTimeout, RpcError, ServerFault, Unavailable, UnexpectedAnswer

ATTEMPT_TIMEOUT_MIN_S = 0.001
"""An attempt gets at least this long: gRPC takes a deadline of 0 for one that has passed."""

STREAM_TIMEOUT_S = 3_600.0
"""A stream is opened anew after this long, so that it too has a deadline; nobody notices."""

SHARE_MIN_S = 2.0
"""Where another SEC could answer as well, one that is silent gets half of the time that is left, but at least this."""

BACKOFF_INITIAL_S = 0.1
BACKOFF_MAXIMUM_S = 3.0


def backoff_s(failures: int, draw: float) -> float:
    """Return the wait after that many failures in a row (from 1); `draw` is from [0, 1).

    It is drawn from [0, delay], so that many clients of a SEC that stopped do not return to it at once.
    """
    return draw * min(BACKOFF_MAXIMUM_S, BACKOFF_INITIAL_S * 2.0 ** min(failures - 1, 32))


@dataclass(slots=True)
class Attempts:
    """The attempts of one call. Every time is in seconds, on one clock that only goes forward."""

    started_s: float
    """When the call began."""
    timeout_s: float | None
    """How long all attempts may take together; None for a stream that can go on where it broke."""
    patience_s: float
    """How long it may fail in a row."""
    repeatable: bool
    """Whether the method is safe to repeat."""
    addresses: int = 1
    """How many addresses there are to ask."""
    shares: bool = False
    """Whether an attempt leaves time for the next one, as its method answers at once or not at all."""
    address: str = ""
    """The one that the last attempt went to."""
    _failures: int = 0
    _failing_since_s: float = 0.0

    def progressed(self) -> None:
        """Note that the stream brought something: patience starts anew."""
        self._failures = 0

    def attempt_timeout_s(self, now_s: float) -> float:
        """Return how long the next attempt may take."""
        if self.timeout_s is None:
            return STREAM_TIMEOUT_S
        left_s = max(ATTEMPT_TIMEOUT_MIN_S, self.started_s + self.timeout_s - now_s)
        return min(left_s, max(left_s / 2, SHARE_MIN_S)) if self._is_shared() else left_s

    def _is_shared(self) -> bool:
        return self.shares and self.repeatable and self.addresses > 1

    def delay_s(self, error: RpcError, now_s: float, draw: float, *, unsent: bool = False) -> float:
        """Return how long to wait before the next attempt.

        Args:
            error: How the last one failed.
            now_s: The time.
            draw: From [0, 1).
            unsent: True: it certainly never reached a SEC.

        Raises:
            RpcError: `error` itself: there is no next attempt.
        """
        if not (unsent or (self.repeatable and self._is_passing(error))):
            raise error
        if self._failures == 0:
            self._failing_since_s = now_s
        self._failures += 1
        rounds, tried = divmod(self._failures, self.addresses)
        delay_s = 0.0 if tried else backoff_s(rounds, draw)
        if error.retry_delay_s is not None:
            delay_s = error.retry_delay_s
        if now_s + delay_s >= self._give_up_s():
            raise error
        return delay_s

    def _give_up_s(self) -> float:
        patient_until_s = self._failing_since_s + self.patience_s
        return patient_until_s if self.timeout_s is None else min(patient_until_s, self.started_s + self.timeout_s)

    def _is_passing(self, error: RpcError) -> bool:
        """Say whether the same call may go well later."""
        if isinstance(error, Unavailable) or error.retry_delay_s is not None:
            return True
        if isinstance(error, CallStopped) and not error.reason:
            return True  # nobody here stopped it: a server that ends cancels the calls that it has not begun
        if self._is_shared() and isinstance(error, CallTimeout):
            return True  # the bound of all attempts still holds
        # What breaks a stream under way, its own deadline included, carries no reason: those are the servers' words.
        broken = isinstance(error, (CallStopped, CallTimeout, ServerFault, UnexpectedAnswer))
        return self.timeout_s is None and broken and not error.reason
