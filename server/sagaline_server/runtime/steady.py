"""A wall clock for due times: one that is not set back while the process lives."""

from __future__ import annotations

from sagaline_server.ports.clock import Clock

CORRECTION_SECONDS = 1.0
"""A step back of less than this is a correction, and is followed at once."""


class SteadyClock:
    """`Clock` over another one, whose wall time ignores a step back.

    Due times are compared with the wall clock, because other SECs have to
    understand them. Set back by an hour it would hold up every retry by an
    hour; so it goes on from where it was, and is right again after a restart.
    A step forward is followed: it makes retries early, which does no harm.
    """

    def __init__(self, clock: Clock) -> None:
        """Begin with what the clock shows now."""
        self._clock = clock
        self._offset = clock.wall() - clock.boottime()

    def wall(self) -> float:
        """Return seconds since 1970."""
        boottime = self._clock.boottime()
        self._offset = self._followed(self._clock.wall() - boottime)
        return boottime + self._offset

    def _followed(self, offset: float) -> float:
        return offset if offset > self._offset - CORRECTION_SECONDS else self._offset

    def boottime(self) -> float:
        """Return seconds on a clock that never jumps."""
        return self._clock.boottime()
