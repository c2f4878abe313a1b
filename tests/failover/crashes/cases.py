"""Every crash: who dies, at which point, on which store."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sagaline_examples.demo import plan
from sagaline_examples.inventory import Inventory, open_inventory
from tests.failover.crashes.scenes import SCENES
from tests.failover.crashes.stage import Case, Stage

AT_ONCE = 8
CASE_SECONDS = 300.0
STOCK = 10_000

Passes = Mapping[str, Sequence[int]]
"""Points, and how often each is passed before."""

BY_SCENE: Mapping[str, Passes] = {
    "owner": {
        "commit.before": (2, 1, 3, 4, 5, 6, 7),
        "commit.after": (3, 1, 2, 4, 5, 6, 7),
        "create.durable": (2, 4),
        "turn.applied": (6, 1, 3, 9, 12, 16, 20),
        "turn.sent": (6, 1, 3, 9, 12, 16, 20),
        "turn.answered": (8, 5, 12, 16),
        "result.received": (4, 1, 2, 6, 8, 12, 16),
        "send.before": (2, 1, 3, 4, 5),
        "send.after": (2, 1, 3, 4, 5),
        "ack.before": (3, 1, 2, 4, 5),
        "ack.after": (3, 1, 2, 4, 5),
        "saga.finished": (1, 2, 3, 4),
    },
    "adopter": {
        "adopt.claimed": (1,),
        "adopt.folded": (2, 1, 4),
        "commit.before": (1,),
        "commit.after": (1,),
    },
    "leaver": {"drain.announced": (1,), "drain.done": (1,)},
    "starter": {"open.registered": (1,)},
    "giver": {"handoff.held": (1, 2, 4), "handoff.committed": (2, 1, 4), "handoff.left": (2, 1, 4)},
    "taker": {"handoff.taken": (2, 1, 4), "commit.before": (1, 2), "commit.after": (2, 1)},
    "asked": {"order.put": (1,)},
}
"""The first of each point is part of every test; the others are for `make failover`."""
OF_SEVERAL_SECS = frozenset({"giver", "taker", "asked"})

Verdicts = Mapping[Case, BaseException | None]


def cases(*, thorough: bool) -> list[Case]:
    """Return the cases on both stores.

    Args:
        thorough: All of them; otherwise one for each point of each scene.
    """
    return [
        Case(scene, f"{point}:{number}", store)
        for store in ("sqlite", "etcd")
        for scene, points in BY_SCENE.items()
        if store == "etcd" or scene not in OF_SEVERAL_SECS
        for point, numbers in points.items()
        for number in numbers[: None if thorough else 1]
    ]


class Playing:
    """Plays cases, several at once: each is small, and spends its time waiting."""

    def __init__(self, folder: Path, etcd: str, inventory: Inventory, say: Callable[[str], None]) -> None:
        self._folder = folder
        self._etcd = etcd
        self._inventory = inventory
        self._say = say
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def all(self, chosen: Sequence[Case]) -> Verdicts:
        """Play cases; returns what went wrong with each."""
        return dict(zip(chosen, await asyncio.gather(*map(self._play, chosen)), strict=True))

    async def _play(self, case: Case) -> BaseException | None:
        async with AsyncExitStack() as stack:
            # Left after the gate, because workers whose SEC is dead take their time to leave.
            async with self._gate:
                began = time.monotonic()
                verdict: BaseException | None = None
                try:
                    async with asyncio.timeout(CASE_SECONDS):
                        await SCENES[case.scene](Stage(case, self._folder, self._etcd, self._inventory, stack))
                except Exception as error:  # noqa: BLE001 - whoever asked for the case raises it
                    verdict = error
                how = "as it should" if verdict is None else f"{type(verdict).__name__}: {verdict}"
                self._say(f"  {case.name}: {time.monotonic() - began:.1f} s, {how}")
            return verdict


def play(chosen: Iterable[Case], folder: Path, etcd: str, say: Callable[[str], None]) -> Verdicts:
    """Play cases in a folder that is there, on one etcd; returns what went wrong with each."""
    inventory = open_inventory(folder / "inventory.db", durable=False)
    try:
        plan.stock(inventory, STOCK)
        return asyncio.run(Playing(folder, etcd, inventory, say).all(list(chosen)))
    finally:
        inventory.close()
