"""Where finished sagas go before the store forgets them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec


class ArchivedSaga(msgspec.Struct, frozen=True):
    """A finished saga, whole."""

    saga_id: str
    ended: float
    """When it ended, in seconds since 1970."""
    dump: bytes
    """Its record and log as `sagaline replay` reads them, gzip-compressed: equal for equal sagas."""


class ArchiveError(Exception):
    """The archive did not take it, so nothing may be deleted. Try again later."""


class Archive(Protocol):
    """Keeps finished sagas. What it was given before it takes again, and keeps once."""

    async def put(self, sagas: Sequence[ArchivedSaga]) -> None:
        """Keep sagas; they are durable when this returns.

        Raises:
            ArchiveError: Not all of them are.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
