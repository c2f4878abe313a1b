"""Clocks of simulated hosts: each goes at a rate of its own, and tells the wrong time of day in its own way."""

from __future__ import annotations

import math

from tests.simulation.loop import Simulator

WALL_START = 1_750_000_000.0
"""Seconds since 1970 at the simulation's time 0."""
WALL_STEP_SECONDS = 60.0
"""Greatest step of a wall clock. Due times are on it, so a change of owner may stretch a backoff by as much."""


class SimClock:
    """`Clock` of one host. It survives the host's processes, as the kernel's does."""

    def __init__(self, sim: Simulator, *, rate: float = 1.0, booted: float = 0.0, wall_offset: float = 0.0) -> None:
        """Make a clock.

        Args:
            sim: Whose time is the true one.
            rate: Seconds that this clock counts in a true second.
            booted: What the boottime clock shows at the simulation's time 0.
            wall_offset: Seconds by which the wall clock is wrong.
        """
        self._sim = sim
        self._rate = rate
        self._booted = booted
        self._wall_offset = wall_offset

    def boottime(self) -> float:
        """Return seconds that never jump and go on while processes are stopped."""
        return self._booted + self._sim.now * self._rate

    def wall(self) -> float:
        """Return seconds since 1970, as this host believes."""
        return WALL_START + self._wall_offset + self._sim.now * self._rate

    def step_wall(self, seconds: float) -> None:
        """Set the wall clock forward or back."""
        self._wall_offset += seconds

    def true_time(self, boottime: float) -> float:
        """Return the first true time at which the boottime clock shows at least so much."""
        true = (boottime - self._booted) / self._rate
        while self._booted + true * self._rate < boottime:
            true = math.nextafter(true, math.inf)
        return true
