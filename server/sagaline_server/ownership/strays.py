"""Results of sagas that do not run here: forgotten only when the store says that the saga has ended."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import structlog

from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.cluster import ClusterStore
from sagaline_server.ports.sagas import NotTaken, OnFate
from sagaline_server.ports.store import OwnedSaga, StoreError
from sagaline_server.runtime.engine import SagaEngine

log = structlog.get_logger("sagaline.strays")

STRAYS_MAX = 10_000
"""Results that wait for a look at the store; beyond that, workers are told to send them again."""
LOOK_UPS = 50
"""Sagas looked up in one request."""


class Strays:
    """Looks up the owners of sagas that results have come for."""

    def __init__(self, engine: SagaEngine, store: ClusterStore, membership: Membership) -> None:
        """Take the strays of an engine."""
        self._engine = engine
        self._store = store
        self._membership = membership
        self._waiting: deque[tuple[str, OnFate]] = deque()
        self._something = asyncio.Event()
        engine.on_stray = self.put

    def put(self, saga_id: str, on_fate: OnFate) -> None:
        """Look a saga up; `on_fate` is called with what the worker should do with its result."""
        if len(self._waiting) >= STRAYS_MAX:
            on_fate(NotTaken.RETRY)
            return
        self._waiting.append((saga_id, on_fate))
        self._something.set()

    async def run(self) -> None:
        """Look up for ever. The owner runs and cancels it."""
        while True:
            await self._something.wait()
            self._something.clear()
            while self._waiting:
                batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), LOOK_UPS))]
                fates = await self._look_up([saga_id for saga_id, _ in batch])
                for (_, on_fate), fate in zip(batch, fates, strict=True):
                    on_fate(fate)

    async def _look_up(self, saga_ids: Sequence[str]) -> list[NotTaken]:
        try:
            owners = await self._store.read_owners(saga_ids)
        except StoreError as error:
            log.warning("stray_lookup_failed", sagas=len(saga_ids), error=str(error))
            return [NotTaken.RETRY] * len(saga_ids)
        return [self._fate(saga_id, owner) for saga_id, owner in zip(saga_ids, owners, strict=True)]

    def _fate(self, saga_id: str, owner: OwnedSaga | None) -> NotTaken:
        if owner is None:
            return NotTaken.NOT_FOUND
        elsewhere = owner.sec_id != self._membership.me
        if not elsewhere or not self._membership.is_alive(owner.sec_id, owner.incarnation):
            # On its way here, or waiting to be adopted by somebody.
            return NotTaken.RETRY
        self._engine.note_owner(saga_id, (owner.sec_id, self._membership.address_of(owner.sec_id)))
        return NotTaken.MOVED
