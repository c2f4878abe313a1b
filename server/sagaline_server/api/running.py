"""RunSagas: one stream that creates many sagas and tells of their ends.

There is no task for a saga. A reader takes specs from the client and hands
them to the runtime, whose calls put results and ends into an outbox; the
writer sends what has gathered whenever it is free, so that frames fill by
themselves under load. Everything is bounded: what is being created (the client
is read no further), what waits to be written (likewise; ends are forgotten and
asked for again), and what is followed (refused).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping
from functools import partial

from sagaline.v1 import saga_pb2, saga_service_pb2
from sagaline_server.api import checks
from sagaline_server.api.batches import SPECS_A_SLICE, Outcome, check_keys, result_of
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import Refused, batch_error, refusal, refuse
from sagaline_server.api.graphs import BadGraph, PreparedGraph
from sagaline_server.api.outbox import Outbox
from sagaline_server.api.runtime_port import SagaRuntime
from sagaline_server.core import limits
from sagaline_server.core.validate import check_saga_id
from sagaline_server.runtime.requests import CreateFate, Creation, Overloaded, RuntimeRefusal

FOLLOWED_MAX = 100_000
"""Sagas that one stream creates and follows at once."""
CREATING_MAX = 2_000
"""Sagas of one stream that are being made durable; meanwhile the client is read no further."""
GRAPHS_BYTES = 16 * 1024 * 1024
"""Encoded graphs that one stream may name by key."""
OVERLOAD_PATIENCE = 10.0
"""Seconds that a saga waits for an overloaded runtime before it is refused."""
FOLLOWED_A_CALL = 100
"""Sagas that may have to be read from the store before the writer goes on."""


class _Slot:
    """The place of one spec's result in the order of the stream."""

    __slots__ = ("or_needs_operator", "outcome", "saga_id")

    def __init__(self, saga_id: str, *, or_needs_operator: bool) -> None:
        self.saga_id = saga_id
        self.or_needs_operator = or_needs_operator
        self.outcome: Outcome | None = None


class _Following:
    """Sagas followed by one call, until they have ended or the stream has."""

    __slots__ = ("_left", "_on_end", "stop")

    def __init__(self, count: int, on_end: Callable[[saga_service_pb2.SagaEnd], None]) -> None:
        self._left = count
        self._on_end = on_end
        self.stop: Callable[[], None] | None = None

    @property
    def is_over(self) -> bool:
        return not self._left

    def __call__(self, end: saga_service_pb2.SagaEnd) -> None:
        self._left -= 1
        self._on_end(end)


class SagaRun:
    """One stream."""

    def __init__(self, runtime: SagaRuntime, maker: CreationMaker, followed_max: int = FOLLOWED_MAX) -> None:
        """Make the run of a stream that has just begun."""
        self._runtime = runtime
        self._maker = maker
        self._followed_max = followed_max
        self._outbox = Outbox()
        self._slots: deque[_Slot] = deque()
        """Specs whose results are not in the outbox yet, in the order they were sent."""
        self._followed: dict[str, bool] = {}
        """Sagas whose ends are not in the outbox yet, and whether the need of an operator is one."""
        self._unfollowed: deque[str] = deque()
        """Those among them that the runtime has yet to be asked about, or asked again."""
        self._followings: set[_Following] = set()
        self._graphs: dict[str, PreparedGraph | BadGraph] = {}
        self._graph_bytes: dict[str, int] = {}
        self._something = asyncio.Event()
        """Set when there may be something to write."""
        self._room = asyncio.Event()
        """Set when there may be room for more."""
        self._is_closed = False

    # ---- writing

    async def frames(
        self, requests: AsyncIterator[saga_service_pb2.RunSagasRequest]
    ) -> AsyncGenerator[saga_service_pb2.RunSagasResponse, None]:
        """Yield frames until the client has no more to send and every saga has ended."""
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(lambda _: self._something.set())
        try:
            while True:
                self._something.clear()
                client_is_done = reading.done()
                if client_is_done:
                    reading.result()
                if not self._outbox.is_empty:
                    yield self._outbox.next_frame()
                    self._room.set()
                if self._unfollowed and self._outbox.takes_ends:
                    await self._follow_unfollowed()
                if not self._outbox.is_empty or self._unfollowed:
                    continue
                if client_is_done and not self._slots and not self._followed:
                    return
                await self._something.wait()
        finally:
            await self._close(reading)

    async def _close(self, reading: asyncio.Task[None]) -> None:
        self._is_closed = True
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        for following in self._followings:
            if following.stop is not None:
                following.stop()

    # ---- reading

    async def _read(self, requests: AsyncIterator[saga_service_pb2.RunSagasRequest]) -> None:
        async for frame in requests:
            refuse(
                checks.at_most_items(len(frame.sagas), limits.CREATE_BATCH, "sagas")
                + checks.at_most_items(len(frame.follow_ids), limits.CREATE_BATCH, "follow_ids")
                + check_keys(frame.graphs)
            )
            if frame.graphs:
                await self._take_graphs(frame.graphs)
            await self._take_specs(frame.sagas, or_needs_operator=frame.or_needs_operator)
            if frame.follow_ids:
                await self._take_followed(frame.follow_ids, or_needs_operator=frame.or_needs_operator)

    async def _take_graphs(self, graphs: Mapping[str, saga_pb2.Graph]) -> None:
        for key, graph in graphs.items():
            self._graph_bytes[key] = graph.ByteSize()
            if len(self._graph_bytes) > limits.GRAPHS_PER_STREAM or sum(self._graph_bytes.values()) > GRAPHS_BYTES:
                raise Refused("TOO_MANY_GRAPHS")
            self._graphs[key] = self._maker.graphs.prepare(graph)
            await asyncio.sleep(0)

    async def _take_specs(self, specs: Iterable[saga_pb2.SagaSpec], *, or_needs_operator: bool) -> None:
        moment = self._maker.moment()
        for number, spec in enumerate(specs, 1):
            if not self._has_room():
                await self._wait_for_room()
            slot = _Slot(spec.saga_id, or_needs_operator=or_needs_operator)
            self._slots.append(slot)
            try:
                if len(self._slots) + len(self._followed) > self._followed_max:
                    raise Refused("TOO_MANY_FOLLOWED")
                creation = self._maker.make(spec, moment, self._graphs)
                slot.saga_id = creation.spec.saga_id
                try:
                    self._runtime.create_one(creation, partial(self._decided, slot))
                except Overloaded:
                    await self._create(slot, creation)
            except (Refused, RuntimeRefusal) as refused:
                self._decided(slot, refused)
            if number % SPECS_A_SLICE == 0:
                await asyncio.sleep(0)

    async def _create(self, slot: _Slot, creation: Creation) -> None:
        """Hand a creation to the runtime; while that is overloaded, wait and read no further."""
        patience = OVERLOAD_PATIENCE
        while True:
            try:
                self._runtime.create_one(creation, partial(self._decided, slot))
                return
            except Overloaded as overloaded:
                if patience <= 0:
                    raise
                patience -= overloaded.retry_delay
                await asyncio.sleep(overloaded.retry_delay)

    async def _take_followed(self, saga_ids: Iterable[str], *, or_needs_operator: bool) -> None:
        for saga_id in saga_ids:
            if not self._has_room():
                await self._wait_for_room()
            problems = check_saga_id(saga_id, "follow_ids")
            if problems:
                self._cant_follow(saga_id[: limits.SAGA_ID_CHARS], Refused("INVALID_REQUEST", problems=problems))
            elif len(self._slots) + len(self._followed) >= self._followed_max:
                self._cant_follow(saga_id, Refused("TOO_MANY_FOLLOWED"))
            else:
                self._follow(saga_id, or_needs_operator=or_needs_operator)
        self._something.set()

    def _has_room(self) -> bool:
        return len(self._slots) < CREATING_MAX and self._outbox.takes_results and self._outbox.takes_ends

    async def _wait_for_room(self) -> None:
        while not self._has_room():
            self._room.clear()
            await self._room.wait()

    # ---- what the runtime tells

    def _decided(self, slot: _Slot, outcome: Outcome) -> None:
        """Note what became of a spec, and tell of all whose turn it is. A result precedes the end of its saga."""
        slot.outcome = outcome
        if self._is_closed or slot is not self._slots[0]:
            return
        while self._slots and self._slots[0].outcome is not None:
            first = self._slots.popleft()
            assert first.outcome is not None
            self._outbox.add_result(result_of(first.saga_id, first.outcome))
            if isinstance(first.outcome, CreateFate) and first.outcome is not CreateFate.CONFLICT:
                self._follow(first.saga_id, or_needs_operator=first.or_needs_operator)
        self._something.set()
        self._room.set()

    def _follow(self, saga_id: str, *, or_needs_operator: bool) -> None:
        if saga_id in self._followed:
            return
        self._followed[saga_id] = or_needs_operator
        if not self._runtime.follow_live(saga_id, self._ended, or_needs_operator=or_needs_operator):
            self._unfollowed.append(saga_id)

    async def _follow_unfollowed(self) -> None:
        first = self._unfollowed.popleft()
        or_needs_operator = self._followed[first]
        saga_ids = [first]
        while self._unfollowed and len(saga_ids) < FOLLOWED_A_CALL:
            if self._followed[self._unfollowed[0]] is not or_needs_operator:
                break
            saga_ids.append(self._unfollowed.popleft())
        following = _Following(len(saga_ids), self._ended)
        try:
            following.stop = await self._runtime.follow(saga_ids, following, or_needs_operator=or_needs_operator)
        except RuntimeRefusal as error:
            for saga_id in saga_ids:
                self._cant_follow(saga_id, refusal(error, saga_id))
            return
        self._followings = {each for each in (*self._followings, following) if not each.is_over}

    def _ended(self, end: saga_service_pb2.SagaEnd) -> None:
        if self._is_closed or end.saga_id not in self._followed:
            return
        if self._outbox.takes_ends:
            del self._followed[end.saga_id]
            self._outbox.add_end(end)
        else:
            self._unfollowed.append(end.saga_id)
        self._something.set()

    def _cant_follow(self, saga_id: str, refused: Refused) -> None:
        self._followed.pop(saga_id, None)
        self._outbox.add_end(saga_service_pb2.SagaEnd(saga_id=saga_id, error=batch_error(refused)))
        self._something.set()
