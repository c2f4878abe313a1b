"""Concurrent creations of one asyncio client share batches.

Nothing waits for others to come: a creation that finds room goes alone, at once. Those that come while there is none
gather, and leave in one batch as soon as there is. Each caller hears what a call of its own would have told it: a saga
of which a batch has no good news is sent alone, and the answer to that counts.
"""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Any, TypeVar

from sagaline.client import calls
from sagaline.client.aio_link import AioLink
from sagaline.client.ends import Created
from sagaline.client.sagas import BATCH_SAGAS_MAX, Batch, Batcher, NewSaga
from sagaline.errors import CallStopped, CallTimeout, RpcError, Unavailable

R = TypeVar("R")

CALLS_MAX = 2
"""Calls under way at once, of one creation or of many: while one is written, the next is on its way."""

GATHERED_MAX = 10_000
"""Creations that wait for room; those beyond go alone."""


class _Waiter:
    """One creation that waits for its batch."""

    __slots__ = ("answer", "is_sent", "new")

    def __init__(self, new: NewSaga[Any]) -> None:
        self.new = new
        self.is_sent = False
        self.answer: asyncio.Future[Created[Any] | None] = asyncio.get_running_loop().create_future()
        """None: the creation has to go alone."""


class SharedCreations:
    """The creations of one client."""

    def __init__(self, link: AioLink) -> None:
        self._link = link
        self._gathered: deque[_Waiter] = deque()
        self._calls = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def create(self, new: NewSaga[R]) -> Created[R]:
        """Create a saga, alone or with others.

        Raises:
            RpcError: As of a call of its own.
        """
        if self._calls < CALLS_MAX and not self._gathered:
            self._calls += 1
            try:
                return await self._link.unary(calls.create(new))
            finally:
                self._calls -= 1
                self._send()
        created = await self._gather(new) if len(self._gathered) < GATHERED_MAX else None
        return await self._link.unary(calls.create(new)) if created is None else created

    async def _gather(self, new: NewSaga[R]) -> Created[R] | None:
        waiter = _Waiter(new)
        self._gathered.append(waiter)
        try:
            async with asyncio.timeout(self._link.timeout_s):
                return await waiter.answer
        except TimeoutError:
            raise CallTimeout("no answer came in time", status="DEADLINE_EXCEEDED") from None
        finally:
            if not waiter.is_sent:
                self._gathered.remove(waiter)

    def _send(self) -> None:
        """Send what has gathered, as far as there is room for calls."""
        while self._gathered and self._calls < CALLS_MAX:
            batcher = Batcher(stream=False)
            for waiter in islice(self._gathered, BATCH_SAGAS_MAX):
                batcher.add(waiter.new)
            batch = batcher.next_batch()
            assert batch is not None
            waiters = [self._take() for _ in batch.specs]
            self._calls += 1
            task = asyncio.create_task(self._call(batch, waiters))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _take(self) -> _Waiter:
        waiter = self._gathered.popleft()
        waiter.is_sent = True
        return waiter

    async def _call(self, batch: Batch, waiters: list[_Waiter]) -> None:
        answers: list[Created[Any] | RpcError | None] = [CallStopped("the client was closed", status="CANCELLED")]
        try:
            news = [waiter.new for waiter in waiters]
            created = await self._link.unary(calls.create_batch(batch, news, with_sagas=True))
            answers = [None if each.error is not None or each.saga is None else each for each in created]
        except Unavailable as unreached:
            answers = [unreached]
        except RpcError:
            answers = [None]
        finally:
            self._calls -= 1
            _tell(waiters, answers)
            self._send()

    async def close(self) -> None:
        """Give up the calls that are under way; their callers hear of it."""
        tasks = list(self._tasks)
        while self._gathered:
            _tell([self._take()], [CallStopped("the client was closed", status="CANCELLED")])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _tell(waiters: list[_Waiter], answers: list[Created[Any] | RpcError | None]) -> None:
    """Tell every waiter its answer; a single one is for all."""
    for number, waiter in enumerate(waiters):
        answer = answers[number if len(answers) > 1 else 0]
        if waiter.answer.done():
            continue
        if isinstance(answer, RpcError):
            waiter.answer.set_exception(answer)
        else:
            waiter.answer.set_result(answer)
