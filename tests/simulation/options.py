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
NO_STREAMS = "no streams"
"""A worker has no stream to a SEC that it can call. Drawn apart, as what is in `APART`."""
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
REMOVED = "removal"
"""Nothing is left of finished sagas after a while."""
ARCHIVED = "archive"
"""Finished sagas go into an archive before anything of them is deleted."""
VARIETY = "variety"
"""Graphs have what is drawn beside their shape: types, nodes that can't be undone, maps in maps."""
BATCHES = "batches"
"""Sagas are paused, resumed and unwound by their labels."""
HELD_ACTIONS = "breakpoints on actions"
"""Actions are held in every saga."""
CARRIED = "results by calls"
"""Somebody tells SECs results a second time, by single calls."""
APART = {
    KEEPING: 0.3,
    LIMITED: 0.3,
    INJECTED: 0.25,
    SET_ASIDE: 0.25,
    REMOVED: 0.12,
    ARCHIVED: 0.4,
    VARIETY: 0.5,
    BATCHES: 0.25,
    HELD_ACTIONS: 0.2,
    CARRIED: 0.2,
    SHARDED: 0.25,
}
"""Features of the cluster, and of what is done to it, and how often each is there. Each is drawn apart, so that those
that are added change nothing of what a seed has had before."""
MORE_SAGAS = 4
"""Where there are limits: with few sagas there is nothing to limit."""
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
        faults = ", ".join(fault for fault in (*FAULTS, NO_STREAMS) if fault in self.faults) or "none"
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
    options = Options(
        seed=seed,
        secs=chance.choice((1, 2, 2, 3, 3)),
        workers=chance.choice((1, 2, 2, 3)),
        slots=chance.choice((1, 2, 4, 20)),
        sagas=chance.choice((1, 2, 4, 4, 6)) + (MORE_SAGAS if LIMITED in apart else 0),
        nodes_max=chance.choice((2, 4, 6, 8)),
        seconds=chance.choice((15.0, 30.0, 60.0)),
        faults=frozenset() if calm else frozenset(name for name in FAULTS if chance.random() < share),
        mischiefs=frozenset(name for name in MISCHIEFS if chance.random() < chance.choice((0.2, 0.5))),
        features=frozenset(name for name in FEATURES if chance.random() < 0.3) | apart,
        rate=chance.choice((5.0, 10.0, 20.0)),
    )
    if options.faults and random.Random(f"{NO_STREAMS} {seed}").random() < 0.2:
        options = msgspec.structs.replace(options, faults=options.faults | {NO_STREAMS})
    if "wall jumps" in options.faults:  # how old a saga is, is told by wall clocks
        return msgspec.structs.replace(options, features=options.features - {REMOVED})
    return options
