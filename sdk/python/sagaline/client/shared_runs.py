"""Concurrent runs of one asyncio client share one stream that creates their sagas and tells of their ends.

Nothing waits for others to come. A few runs at once have a call each, which is the shortest way; those beyond go over
the stream, whose frames fill by themselves while the one before is written. The stream is opened when it is first
needed, and ends when nobody has needed it for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc.aio

from sagaline.client import methods
from sagaline.client.aio_link import AioFrames, AioLink, is_cancelled
from sagaline.client.ends import Ended
from sagaline.client.repeating import Attempts
from sagaline.client.running import RunBook
from sagaline.client.sagas import NewSaga
from sagaline.client.status import from_call
from sagaline.errors import CallStopped, RpcError, SagalineError, SagaNotFound, Unavailable

R = TypeVar("R")

ALONE_MAX = 8
"""Runs at once that have a call each."""

SHARED_MAX = 10_000
"""Runs at once over the stream; those beyond have a call each."""

IDLE_S = 5.0
"""How long the stream stays open without a run."""


class SharedRuns:
    """The runs of one client."""

    def __init__(self, link: AioLink) -> None:
        self._link = link
        self._alone = 0
        self._book: RunBook[Any] = _new_book()
        self._waiting: dict[str, asyncio.Future[Ended[Any] | None]] = {}
        """By saga: who waits for its end. None: the run has to go alone."""
        self._frames: AioFrames | None = None
        self._call: grpc.aio.StreamStreamCall[Any, Any] | None = None
        self._has_given_up = False
        """True when the SEC may follow a saga on this stream that nobody here waits for any more."""
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Count a run that has a call of its own, within the block."""
        self._alone += 1
        try:
            yield
        finally:
            self._alone -= 1

    async def ended(self, new: NewSaga[R], wait_s: float | None) -> Ended[R] | None:
        """Run a saga over the stream until it has ended, or needs an operator.

        Returns:
            Its end. None: the run is to go alone, with the same saga; the time to wait may be over.

        Raises:
            RpcError: No SEC could be reached for as long as the client's patience lasts.
        """
        if (wait_s is not None and wait_s <= 0) or not self._is_to_share(new):
            return None
        end: asyncio.Future[Ended[R] | None] = asyncio.get_running_loop().create_future()
        self._waiting[new.saga_id] = end
        try:
            self._add(new)
            async with asyncio.timeout(wait_s):
                ended = await end
        except TimeoutError:
            return None
        finally:
            self._has_given_up |= end.cancelled()
            del self._waiting[new.saga_id]
            self._book.drop(new.saga_id)
            if not self._waiting:
                self._begin_idle()
        if ended is None or not isinstance(ended.error, RpcError) or isinstance(ended.error, SagaNotFound):
            return ended
        return None  # a refusal in a batch names fields of the batch: sent alone, the saga is refused with its own

    def _is_to_share(self, new: NewSaga[Any]) -> bool:
        if self._alone < ALONE_MAX and not self._waiting:
            return False
        return len(self._waiting) < SHARED_MAX and new.saga_id not in self._waiting

    def _add(self, new: NewSaga[Any]) -> None:
        self._end_idle()
        self._book.add(new)
        if self._task is None:
            self._task = asyncio.create_task(self._keep())
        elif self._frames is not None:
            self._frames.wake()

    # ---- the stream

    async def _keep(self) -> None:
        """Keep a stream open as long as it is needed."""
        attempts = self._link.stream_attempts()
        failure: SagalineError | None = CallStopped("the client was closed", status="CANCELLED")
        try:
            while await self._converse(attempts):
                self._book.restart()
            failure = None
        except Unavailable as error:
            failure = error
        except RpcError:
            failure = None  # whatever is wrong with the stream, single calls may go well
        finally:
            self._task = None
            self._end_idle()
            self._book = _new_book()
            for end in self._waiting.values():
                _tell(end, failure)

    async def _converse(self, attempts: Attempts) -> bool:
        """Use one stream until it ends; returns whether another is needed, once it is time for it.

        Raises:
            RpcError: There is no use in another.
        """
        self._frames = frames = AioFrames(self._book)
        call = self._link.converse(methods.RUN_SAGAS, frames.stream(), attempts)
        self._call, self._has_given_up = call, False
        error: RpcError = Unavailable("the stream ended before the sagas did")
        try:
            async for frame in call:
                progress = self._book.progress
                for ended in self._book.receive(frame):
                    _tell(self._waiting[ended.saga_id], ended)
                if self._book.progress > progress:
                    attempts.progressed()
                if self._book.trouble is not None:
                    error = self._book.trouble
                    break
        except grpc.aio.AioRpcError as failed:
            error = from_call(failed)
        except asyncio.CancelledError:
            if not frames.is_closed or is_cancelled():
                raise
        finally:
            is_ours = frames.is_closed
            self._frames = self._call = None
            frames.close()
            call.cancel()
        if self._book.is_idle():
            return False
        if not is_ours:
            await self._link.pause(attempts, error)
        return True

    def _begin_idle(self) -> None:
        if self._task is not None and self._idle is None:
            self._idle = asyncio.get_running_loop().call_later(IDLE_S, self._end_stream)

    def _end_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _end_stream(self) -> None:
        self._idle = None
        if self._frames is not None:
            self._frames.close()
        if self._call is not None and self._has_given_up:  # merely ended, it would stay until those sagas have ended
            self._call.cancel()

    async def close(self) -> None:
        """Give up the stream; who waits on it hears of that."""
        if self._task is not None:
            task = self._task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _new_book() -> RunBook[Any]:
    return RunBook(SHARED_MAX, or_needs_operator=True)


def _tell(end: asyncio.Future[Ended[Any] | None], told: Ended[Any] | SagalineError | None) -> None:
    if end.done():
        return
    if isinstance(told, SagalineError):
        end.set_exception(told)
    else:
        end.set_result(told)
