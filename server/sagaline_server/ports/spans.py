"""Where spans go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sagaline_server.core.spans import Span


class ExportError(Exception):
    """The spans were not taken, and trying for longer was no use. They are lost."""


class SpanExporter(Protocol):
    """Takes spans, for people to look at. A span that is given twice has one id."""

    async def export(self, spans: Sequence[Span]) -> int:
        """Give spans away, within a bounded time; returns how many of them were refused.

        Raises:
            ExportError: None was taken, as far as is known.
        """
        ...

    async def close(self) -> None:
        """Let go of what it holds."""
        ...
