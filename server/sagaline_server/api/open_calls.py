"""The calls that a SEC is serving to clients: when it leaves it ends them with a word that sends clients to another.

Otherwise gRPC would end them when the server stops, and what a client hears then is a matter of chance: that the
server is gone, or that the call was cancelled, which nobody repeats.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sagaline_server.api.errors import Refused


class OpenCalls:
    """Calls under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[object]] = set()
        self._left = asyncio.Event()

    def leave(self) -> None:
        """End all calls, and from here on every new one at once."""
        self._left.set()
        for task in self._tasks:
            task.cancel()

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Serve a call within the block.

        Raises:
            Refused: NOT_SERVING: the SEC has left, before the call or during it.
        """
        task = asyncio.current_task()
        if self._left.is_set() or task is None:
            raise Refused("NOT_SERVING")
        self._tasks.add(task)
        try:
            yield
        except asyncio.CancelledError:
            if not self._left.is_set() or task.uncancel():
                raise  # the client is gone, too
            raise Refused("NOT_SERVING") from None
        finally:
            self._tasks.discard(task)
