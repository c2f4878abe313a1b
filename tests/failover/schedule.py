"""Schedules of faults, each of which follows from a seed alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.failover.faults import KINDS, Fault
from tests.failover.site import Site

QUIET_SECONDS = 2.0
"""Time before the first fault, so that there is something to disturb."""
GAP_SECONDS = 1.5
"""Mean time between the beginnings of two faults."""


@dataclass(frozen=True)
class Schedule:
    """What goes wrong in one run."""

    seed: int
    faults: Sequence[Fault]

    def lines(self) -> list[str]:
        """Return it for people."""
        return [f"schedule of seed {self.seed}:", *(f"  {fault}" for fault in self.faults)]


def make_schedule(seed: int, seconds: float, *, secs: int = 3, workers: int = 3) -> Schedule:
    """Draw the faults of a run that takes so many seconds."""
    chance = random.Random(f"faults {seed}")
    names = list(KINDS)
    weights = [kind.weight for kind in KINDS.values()]
    faults = []
    at = QUIET_SECONDS
    while at < seconds:
        name = chance.choices(names, weights)[0]
        kind = KINDS[name]
        target = chance.randrange(workers if kind.of_workers else secs)
        faults.append(Fault(round(at, 2), name, target, round(chance.uniform(*kind.seconds), 2)))
        at += chance.expovariate(1.0 / GAP_SECONDS)
    return Schedule(seed, faults)


async def carry_out(schedule: Schedule, site: Site, say: Callable[[str], None]) -> int:
    """Let everything go wrong in its time, and wait until the last fault has ended; returns how many did.

    Raises:
        ExceptionGroup: A process did not do as it was told.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    done = 0

    async def one(fault: Fault) -> None:
        nonlocal done
        now = loop.time() - began
        happened = await KINDS[fault.kind].apply(site, fault)
        done += happened
        say(f"  {now:6.1f} s  {fault.kind} {fault.target + 1}{'' if happened else ': not possible now'}")

    async with asyncio.TaskGroup() as group:
        for fault in schedule.faults:
            await asyncio.sleep(max(began + fault.at - loop.time(), 0.0))
            group.create_task(one(fault), name=fault.kind)
    return done
