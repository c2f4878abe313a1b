"""Time, as a port: the runtime never asks the operating system itself."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Two readings of time, both in seconds."""

    def wall(self) -> float:
        """Seconds since 1970. For people and for due times that a log carries; may jump."""
        ...

    def boottime(self) -> float:
        """Seconds on a clock that never jumps and goes on in suspend. For every wait and every fence."""
        ...
