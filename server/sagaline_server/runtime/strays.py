"""Results of sagas that do not run here: forgotten only when the store says that the saga has ended."""

from __future__ import annotations

import asyncio
from collections import deque

import structlog

from sagaline_server.ports.sagas import NotTaken, OnFate
from sagaline_server.ports.store import StoreError
from sagaline_server.runtime.engine import SagaEngine

log = structlog.get_logger("sagaline.strays")

STRAYS_MAX = 10_000
"""Results that wait for a look at the store; beyond that, workers are told to send them again."""


class Strays:
    """Looks up the owners of sagas that results have come for."""

    def __init__(self, engine: SagaEngine) -> None:
        """Take the strays of an engine."""
        self._engine = engine
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
                saga_id, on_fate = self._waiting.popleft()
                on_fate(await self._look_up(saga_id))

    async def _look_up(self, saga_id: str) -> NotTaken:
        try:
            stored = await self._engine.store.read(saga_id)
        except StoreError as error:
            log.warning("stray_lookup_failed", saga_id=saga_id, error=str(error))
            return NotTaken.RETRY
        return NotTaken.NOT_FOUND if stored is None or stored.owner is None else NotTaken.RETRY
