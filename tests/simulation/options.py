"""What a seed decides before anything happens: how large the cluster is, and which faults it suffers.

Each seed turns on some of the faults only: what is always there hides what
happens without it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec

FAULTS = (
    "sec crash",
    "sec crash at append",
    "worker crash",
    "worker drain",
    "pause",
    "partition",
    "break streams",
    "slow network",
    "datagram loss",
    "silent death",
    "slow store",
    "unknown outcomes",
    "late writes",
    "store away",
    "lease revoked",
    "lease starved",
    "watch breaks",
    "drift",
    "wall jumps",
    "sec drain",
)
MISCHIEFS = ("fail", "retry", "hold", "undo trouble", "undo fail", "slow", "hang", "detached", "unwind", "pause saga")
FEATURES = ("delays", "signals", "timeouts", "pivots", "breakpoints", "maps")
KEEPING = "retention"
"""Finished sagas are compacted soon after their end."""
LIMITED = "limits"
"""Scopes and actions have limits, which change."""
INJECTED = "injected"
"""Faults are injected into sagas."""
SET_ASIDE = "quarantine"
"""An operator sets sagas aside, and releases them."""
SHARDED = "shards"
"""The sagas are spread over two etcd clusters."""
APART = {KEEPING: 0.3, LIMITED: 0.3, INJECTED: 0.25, SET_ASIDE: 0.25, SHARDED: 0.25}
"""Features of the cluster, and of what is done to it, and how often each is there. Each is drawn apart, so that those
that are added change nothing of what a seed has had before."""
_STREAMS = {KEEPING: "keeping", LIMITED: "limited"}


class Options(msgspec.Struct, frozen=True):
    """Everything about a run but its course."""

    seed: int
    secs: int
    workers: int
    slots: int
    sagas: int
    nodes_max: int
    seconds: float
    """Length of the safety phase."""
    faults: frozenset[str]
    mischiefs: frozenset[str]
    features: frozenset[str]
    """Of the graphs, and of what clients do beside creating."""
    rate: float
    """Mean seconds between two faults of one kind."""

    def __str__(self) -> str:
        faults = ", ".join(fault for fault in FAULTS if fault in self.faults) or "none"
        mischiefs = ", ".join(name for name in MISCHIEFS if name in self.mischiefs) or "none"
        features = ", ".join(name for name in (*FEATURES, *APART) if name in self.features) or "none"
        return (
            f"seed {self.seed}: {self.secs} SECs, {self.workers} workers with {self.slots} slots,"
            f" {self.sagas} sagas of up to {self.nodes_max} nodes, {self.seconds:g} s"
            f"\n  faults about every {self.rate:g} s: {faults}\n  actions and clients: {mischiefs}"
            f"\n  graphs: {features}"
        )

    def has(self, needs: Iterable[str]) -> bool:
        """True when all of these faults, mischiefs and sizes were drawn."""
        sizes = {"several secs"} if self.secs > 1 else set()
        calm = {"calm"} if not self.faults else set()
        return set(needs) <= self.faults | self.mischiefs | self.features | sizes | calm


def draw(seed: int) -> Options:
    """Draw the options of a seed."""
    chance = random.Random(f"options {seed}")
    streams = {name: random.Random(f"{_STREAMS.get(name, name)} {seed}") for name in APART}
    apart = {name for name, share in APART.items() if streams[name].random() < share}
    calm = chance.random() < 0.1
    share = chance.choice((0.15, 0.3, 0.5))
    return Options(
        seed=seed,
        secs=chance.choice((1, 2, 2, 3, 3)),
        workers=chance.choice((1, 2, 2, 3)),
        slots=chance.choice((1, 2, 4, 20)),
        sagas=chance.choice((1, 2, 4, 4, 6)),
        nodes_max=chance.choice((2, 4, 6, 8)),
        seconds=chance.choice((15.0, 30.0, 60.0)),
        faults=frozenset() if calm else frozenset(name for name in FAULTS if chance.random() < share),
        mischiefs=frozenset(name for name in MISCHIEFS if chance.random() < chance.choice((0.2, 0.5))),
        features=frozenset(name for name in FEATURES if chance.random() < 0.3) | apart,
        rate=chance.choice((5.0, 10.0, 20.0)),
    )
