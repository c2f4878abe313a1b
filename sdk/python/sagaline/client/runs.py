"""The client's methods that create sagas and wait for their ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import TypeVar, Unpack

import grpc
import grpc.aio

from sagaline.client import calls, methods
from sagaline.client.aio_link import AioFrames, AioLink
from sagaline.client.calls import Call
from sagaline.client.channels import WINDOW_DEFAULT
from sagaline.client.ends import Created, Ended, result_of
from sagaline.client.running import RunBook
from sagaline.client.sagas import Batcher, NewSaga, SagaOptions
from sagaline.client.shared_creations import SharedCreations
from sagaline.client.shared_runs import SharedRuns
from sagaline.client.status import from_call
from sagaline.client.waiting import Waiting
from sagaline.errors import RpcError, Unavailable
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2

P = TypeVar("P")
R = TypeVar("R")


class RunMethods:
    """Creates, runs and waits; part of `Client`."""

    _link: AioLink
    _creations: SharedCreations
    _runs: SharedRuns

    # ---- creating ----------------------------------------------------------------------------------------

    async def create(self, graph: Graph[P, R], params: P, **options: Unpack[SagaOptions]) -> Created[R]:
        """Create a saga and start it. When this returns it is durable.

        Args:
            graph: What to run.
            params: Its parameters.
            options: See `SagaOptions`.

        Raises:
            SagaAlreadyExists: The id given belongs to a saga of other content.
            InvalidRequest: The server refuses the graph, the parameters or an option; `problems` has all of them.
            ConversionError: `params` is no payload.
        """
        return await self.create_new(NewSaga(graph, params, **options))

    async def create_new(self, new: NewSaga[R]) -> Created[R]:
        """Create a saga that was prepared before; otherwise as `create`.

        Creations that are asked for while others are under way go together in few calls.
        """
        return await self._creations.create(new)

    async def create_many(self, news: Iterable[NewSaga[R]]) -> Sequence[Created[R]]:
        """Create many sagas with few calls, each on its own: one that is refused does not hinder the others.

        Args:
            news: The sagas. Those that share a `Graph` object send it once a call.

        Returns:
            What became of each, in order; look at `error`.

        Raises:
            RpcError: A call failed for good. Sagas of earlier calls exist; with the same `NewSaga` objects this
                can be repeated.
        """
        batcher = Batcher(stream=False)
        remaining = list(news)
        for new in remaining:
            batcher.add(new)
        created: list[Created[R]] = []
        while (batch := batcher.next_batch()) is not None:
            sent = remaining[len(created) : len(created) + len(batch.specs)]
            created += await self._link.unary(calls.create_batch(batch, sent))
        return created

    # ---- running -----------------------------------------------------------------------------------------

    async def run(
        self, graph: Graph[P, R], params: P, *, wait_s: float | None = None, **options: Unpack[SagaOptions]
    ) -> R:
        """Create a saga, wait for its end, and return its decoded result.

        Args:
            graph: What to run.
            params: Its parameters.
            wait_s: How long to wait for its end, in seconds. None: as long as it takes.
            options: See `SagaOptions`.

        Raises:
            SagaUnwound: It ended, and nothing of it remains.
            SagaNeedsOperator: It is stuck, held or quarantined. `result` can wait for it again.
            SagaUnfinished: The time to wait is over; the saga goes on.
        """
        return await self.run_new(NewSaga(graph, params, **options), wait_s=wait_s)

    async def run_new(self, new: NewSaga[R], *, wait_s: float | None = None) -> R:
        """Run a saga that was prepared before; otherwise as `run`.

        A few runs at once have a call each; many share one stream.
        """
        waiting = Waiting(new.saga_id, time.monotonic(), wait_s, or_needs_operator=True)
        ended = await self._runs.ended(new, wait_s)
        if ended is not None:
            return ended.result()
        with self._runs.alone():
            return result_of(new, await self._wait(waiting, waiting.first_call(new, time.monotonic())))

    async def create_and_wait(
        self, new: NewSaga[R], *, wait_s: float | None = None, or_needs_operator: bool = False
    ) -> saga_pb2.Saga:
        """Create a saga and wait for its end, in one call unless it takes long; otherwise as `create` and `wait`.

        Where the answer is lost the call is repeated, and finds the saga there.
        """
        waiting = Waiting(new.saga_id, time.monotonic(), wait_s, or_needs_operator)
        return await self._wait(waiting, waiting.first_call(new, time.monotonic()))

    async def result(self, created: Created[R] | NewSaga[R], *, wait_s: float | None = None) -> R:
        """Wait for the end of a saga that was created, and return its decoded result; raises as `run`."""
        new = created.new if isinstance(created, Created) else created
        return result_of(new, await self.wait(new.saga_id, wait_s=wait_s, or_needs_operator=True))

    async def run_many(
        self, news: Iterable[NewSaga[R]], *, window: int = WINDOW_DEFAULT
    ) -> AsyncGenerator[Ended[R], None]:
        """Create many sagas over one stream and yield each as it ends, in any order.

        A broken stream is opened again, and goes on where it broke: every saga is yielded exactly once. A saga that
        is stuck has not ended; it takes its place in the window until an operator has decided.

        Args:
            news: The sagas; one is taken from it whenever there is room in the window.
            window: Most sagas that run at once.
        """
        book: RunBook[R] = RunBook(window)
        source = iter(news)
        attempts = self._link.stream_attempts()
        book.fill(source)
        while not book.is_idle():
            frames = AioFrames(book)
            call = self._link.converse(methods.RUN_SAGAS, frames.stream(), attempts)
            error: RpcError = Unavailable("the stream ended before the sagas did")
            try:
                async for frame in call:
                    progress = book.progress
                    ended = book.receive(frame)
                    if book.progress > progress:
                        attempts.progressed()
                    book.fill(source)
                    frames.wake()
                    for end in ended:
                        yield end
                    if book.is_idle():
                        return
                    if book.trouble is not None:
                        error = book.trouble
                        break
            except grpc.aio.AioRpcError as failed:
                error = from_call(failed)
            finally:
                frames.close()
                call.cancel()
            await self._link.pause(attempts, error)
            book.restart()

    async def wait(
        self, saga_id: str, *, wait_s: float | None = None, or_needs_operator: bool = False
    ) -> saga_pb2.Saga:
        """Wait until a saga has ended and return it, in the BASIC view.

        Args:
            saga_id: Which.
            wait_s: How long to wait, in seconds. None: as long as it takes.
            or_needs_operator: True: also return when only an operator can bring it further.

        Raises:
            SagaNotSucceeded: The time is over; the class says how the saga stands, mostly `SagaUnfinished`.
            SagaNotFound: There is none of that id.
        """
        waiting = Waiting(saga_id, time.monotonic(), wait_s, or_needs_operator)
        return await self._wait(waiting, waiting.next_call(time.monotonic()))

    async def _wait(self, waiting: Waiting, call: Call[saga_pb2.Saga]) -> saga_pb2.Saga:
        while True:
            asked_s = time.monotonic()
            saga = await self._link.unary(call)
            if waiting.is_over(saga, time.monotonic()):
                return saga
            await asyncio.sleep(waiting.pause_s(asked_s, time.monotonic(), random.random()))
            call = waiting.next_call(time.monotonic())
