"""A thread with a database connection of its own, and a bounded number of calls before it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import structlog

from sagaline_server.ports.store import StoreError

T = TypeVar("T")

CLOSE_SECONDS = 10.0
JOBS_WAITING_MAX = 64
"""Calls that one thread has before it; more wait in their callers."""

log = structlog.get_logger(__name__)


class DatabaseThread:
    """Runs functions over its connection, one after the other.

    Args:
        name: Of the thread.
        connect: Makes the connection, in the thread, at the first call.
    """

    def __init__(self, name: str, connect: Callable[[], sqlite3.Connection]) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._slots = asyncio.Semaphore(JOBS_WAITING_MAX)

    async def run(
        self,
        seconds: float,
        function: Callable[..., T],
        *arguments: object,
        on_end: Callable[[T | None], None] = lambda _: None,
    ) -> T:
        """Call `function` in the thread, with the connection.

        Args:
            seconds: Deadline.
            function: Gets the connection, then the arguments.
            *arguments: For it.
            on_end: Called in the event loop when the call has ended, with its result, or None when it failed; also when
                nobody waits for it any more. Not called if it was never made.

        Raises:
            StoreError: It failed, or did not end in time; then it may still be carried out.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._slots.acquire()
                job = asyncio.get_running_loop().run_in_executor(self._executor, self._call, function, arguments)
                job.add_done_callback(partial(self._ended, on_end))
                return await asyncio.shield(job)
        except TimeoutError as error:
            raise StoreError(f"the database did not answer in {seconds:g} s") from error
        except sqlite3.Error as error:
            raise StoreError(f"the database failed: {error}") from error

    def _call(self, function: Callable[..., T], arguments: Sequence[object]) -> T:
        if self._connection is None:
            self._connection = self._connect()
        return function(self._connection, *arguments)

    def _ended(self, on_end: Callable[[T | None], None], job: asyncio.Future[T]) -> None:
        self._slots.release()
        failed = job.cancelled() or job.exception() is not None  # asked here because its caller may have gone
        on_end(None if failed else job.result())

    async def close(self) -> None:
        """Let the calls before it end, and close the connection. A disk that hangs is not waited for."""
        job = asyncio.get_running_loop().run_in_executor(self._executor, self._disconnect)
        ended, _ = await asyncio.wait([job], timeout=CLOSE_SECONDS)
        if not ended:
            log.warning("store_close_hangs", store="sqlite")
        self._executor.shutdown(wait=False)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
