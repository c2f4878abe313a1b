"""How much is measured, and what of it."""

from __future__ import annotations

import msgspec


class Options(msgspec.Struct, frozen=True):
    """The extent of a run."""

    runs: int
    """Medians are over so many."""
    seconds: float
    """Of each window that is looked at."""
    live_sagas: int
    """Sagas that wait beside the load."""
    recovered_sagas: int
    adopted_sagas: int
    stores: tuple[str, ...] = ("sqlite", "etcd")
    only: str = ""
    """Part of the names of the figures that are wanted."""
    in_flight: int = 256

    def wants(self, *names: str) -> bool:
        """Say whether any of these figures is wanted."""
        return any(self.only in name for name in names)


QUICK = Options(runs=1, seconds=4.0, live_sagas=10_000, recovered_sagas=10_000, adopted_sagas=1_000)
THOROUGH = Options(runs=5, seconds=8.0, live_sagas=100_000, recovered_sagas=10_000, adopted_sagas=10_000)
