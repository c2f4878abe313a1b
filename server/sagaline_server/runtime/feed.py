"""A watcher's buffer: entries of one saga as they become durable, bounded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from sagaline_server.core.entries import Stamped
from sagaline_server.runtime.live import LiveSaga

BUFFER_ENTRIES = 1000
"""Entries kept for a slow watcher; beyond that it reads the log instead."""


class Feed:
    """An observer that keeps entries until they are taken."""

    def __init__(self) -> None:
        """Make an empty buffer."""
        self._entries: list[Stamped] = []
        self._something = asyncio.Event()
        self.overflowed = False
        """True when entries were dropped: read the log from the one after the last taken."""
        self.is_over = False
        """True when nothing more will come from this SEC."""

    def __call__(self, live: LiveSaga, entries: Sequence[Stamped]) -> None:
        """Take entries."""
        if len(self._entries) + len(entries) > BUFFER_ENTRIES:
            self._entries.clear()
            self.overflowed = True
        elif not self.overflowed:
            self._entries += entries
        self.is_over = live.is_gone or live.state.finished is not None
        self._something.set()

    async def take(self) -> list[Stamped]:
        """Wait for something, then return what there is; empty when `overflowed` or over."""
        await self._something.wait()
        self._something.clear()
        entries, self._entries = self._entries, []
        if self.is_over:
            self._something.set()
        return entries
