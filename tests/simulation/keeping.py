"""What is kept of finished sagas, and for how long: the times of retention, and the archive."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Container, Sequence

from sagaline_server.ports.archive import ArchivedSaga, ArchiveError
from tests.simulation.history import History
from tests.simulation.options import KEEPING, REMOVED
from tests.simulation.processes import Process

COMPACT_SECONDS = 2.0
REMOVE_SECONDS = 150.0
"""Longer than any client asks again to create a saga, and than any write is on its way: after it an id is free."""


def keeping(features: Container[str]) -> dict[str, float]:
    """Return the settings of retention that go with the features of a run."""
    if REMOVED in features:
        compact = COMPACT_SECONDS if KEEPING in features else 0.0
        return {"compact_after": compact, "remove_after": REMOVE_SECONDS, "retention_interval": 5.0}
    if KEEPING in features:
        return {"compact_after": COMPACT_SECONDS, "remove_after": 0.0, "retention_interval": COMPACT_SECONDS / 2}
    return {}


class Shelf:
    """Where archived sagas are. They outlive every process."""

    def __init__(self, history: History) -> None:
        """Make an empty shelf, which has no room now and then."""
        self.is_full = True
        self.sagas: dict[str, ArchivedSaga] = {}
        self._history = history

    def put(self, saga: ArchivedSaga) -> None:
        """Keep a saga, once."""
        before = self.sagas.setdefault(saga.saga_id, saga)
        if before != saga:
            self._history.fail("archive", f"{saga.saga_id} was archived twice, and each time another")
        self._history.count("archived")


class SimArchive:
    """The archive as one SEC reaches it."""

    def __init__(self, process: Process, shelf: Shelf, chance: random.Random) -> None:
        """Reach a shelf from a process."""
        self._process = process
        self._shelf = shelf
        self._chance = chance

    async def put(self, sagas: Sequence[ArchivedSaga]) -> None:
        """Keep sagas, one after the other; it may end with some of them kept."""
        for saga in sagas:
            over = asyncio.Event()
            self._process.loop.call_later(0.5 * self._chance.random(), over.set)
            await over.wait()
            if self._shelf.is_full and self._chance.random() < 0.2:
                raise ArchiveError("there is no room")
            self._shelf.put(saga)

    async def close(self) -> None:
        """Nothing is held."""
