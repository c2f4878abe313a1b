"""What the api sees: sagas to create, read, watch, wait for and give orders to.

Live sagas are answered from memory, as of their last durable entry; all others
from the store. Nothing here changes anything but through the engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from sagaline.v1 import admin_service_pb2, log_pb2, saga_pb2, saga_service_pb2
from sagaline_server.core.apply import IllegalEntry
from sagaline_server.core.decide import Decision, Order, decide
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.ports.store import ListQuery, StoredHead, StoredSaga
from sagaline_server.runtime.creations import Creations, OnCreated
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.explain import explain, waiting_text, worker_status
from sagaline_server.runtime.feed import Feed
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.recovery import Folded, Folder
from sagaline_server.runtime.requests import (
    CreateFate,
    Creation,
    NotServing,
    RequestRefused,
    RuntimeRefusal,
    SagaNotFound,
    reaching_store,
)
from sagaline_server.wire.entries import UnreadableLog, decode_part
from sagaline_server.wire.payloads import fill_payload
from sagaline_server.wire.views import Ownership, about, add_details, end_of, summary

LOG_PART_BATCHES = 32
"""Batches of a log that are read at once."""
LOG_PART_BYTES = 4 * 1024 * 1024
"""Encoded batches after which no more are read for one page: more than an answer can hold."""

OnEnd = Callable[[saga_service_pb2.SagaEnd], None]


class Runtime:
    """Sagas as the api needs them."""

    def __init__(self, engine: SagaEngine, folder: Folder) -> None:
        """Make the face of an engine."""
        self.engine = engine
        self.creations = Creations(engine)
        self._folder = folder
        self.on_drain: Callable[[], None] = _nothing
        """Called when this SEC is to leave."""

    # ---- creating

    async def create(self, creations: Sequence[Creation]) -> Sequence[CreateFate | RuntimeRefusal]:
        """Create sagas, each on its own; one fate for each, in order, once all are durable."""
        return await self.creations.create(creations)

    def create_one(self, creation: Creation, on_created: OnCreated) -> None:
        """Create a saga without waiting; `on_created` is called once its fate is durable.

        Raises:
            NotServing: This SEC takes no sagas now.
            Overloaded: Too many creations are under way.
        """
        self.creations.create_one(creation, on_created)

    # ---- reading

    async def get(self, saga_id: str, *, full: bool) -> saga_pb2.Saga:
        """Return a saga as it stands.

        Raises:
            SagaNotFound: There is none.
            NotServing: The store can't be reached.
        """
        live = self.engine.sagas.get(saga_id)
        if live is not None:
            return self._live_view(live, full=full)
        stored = await self._read(saga_id)
        if not full and stored.done is not None:
            return log_pb2.DoneRecord.FromString(stored.done).saga
        return self._stored_view(stored, full=full)

    def _live_view(self, live: LiveSaga, *, full: bool) -> saga_pb2.Saga:
        assert live.claim is not None
        view = summary(live.saga_id, live.about, live.state, Ownership(self.engine.sec_id, live.claim.epoch))
        if full:
            waiting = partial(waiting_text, self.engine.dispatcher, live, self.engine.clock.wall())
            add_details(view, live.parsed_record(), live.state, waiting, self.engine.breakpoints.points)
        return view

    def _stored_view(self, stored: StoredSaga, *, full: bool) -> saga_pb2.Saga:
        owner = None if stored.owner is None else Ownership(stored.owner.sec_id, stored.owner.epoch)
        if stored.done is not None and not stored.batches:
            view = log_pb2.DoneRecord.FromString(stored.done).saga
            record = log_pb2.SagaRecord.FromString(stored.record)
            view.params.CopyFrom(record.spec.params)
            view.graph.CopyFrom(record.spec.graph)
            return view
        try:
            folded = self._folder.fold(stored)
        except (UnreadableLog, IllegalEntry):
            return self._quarantined_view(stored)
        view = summary(stored.saga_id, about(folded.record), folded.saga, owner)
        if full:
            add_details(view, folded.record, folded.saga, points=self.engine.breakpoints.points)
        if stored.saga_id in self.engine.quarantined:
            view.state = saga_pb2.SAGA_STATE_QUARANTINED
            view.needs_operator = True
        return view

    def _quarantined_view(self, stored: StoredSaga) -> saga_pb2.Saga:
        view = saga_pb2.Saga(saga_id=stored.saga_id, state=saga_pb2.SAGA_STATE_QUARANTINED, needs_operator=True)
        if stored.owner is not None:
            view.owner, view.epoch = stored.owner.sec_id, stored.owner.epoch
        view.failure.type = "sagaline.UnreadableLog"
        view.failure.message = self.engine.quarantined.get(stored.saga_id, "its log can't be run")
        return view

    async def _read(self, saga_id: str) -> StoredSaga:
        with reaching_store():
            stored = await self.engine.store.read(saga_id)
        if stored is None:
            raise SagaNotFound(f"there is no saga {saga_id!r}")
        return stored

    async def list_page(self, query: ListQuery, *, full: bool) -> list[saga_pb2.Saga]:
        """Return the views of the sagas that a query selects, in the order of their ids.

        Raises:
            NotServing: The store can't be reached.
        """
        with reaching_store():
            heads = await self.engine.store.list_heads(query)
        views = []
        for head in heads:
            try:
                views.append(await self._head_view(head, full=full))
            except SagaNotFound:
                continue
        return views

    async def _head_view(self, head: StoredHead, *, full: bool) -> saga_pb2.Saga:
        live = self.engine.sagas.get(head.saga_id)
        if live is not None:
            return self._live_view(live, full=full)
        if head.done is not None and not full:
            return log_pb2.DoneRecord.FromString(head.done).saga
        return await self.get(head.saga_id, full=full)

    async def read_log(self, saga_id: str, from_seq: int, limit: int) -> tuple[list[Stamped], int]:
        """Return entries from a number on, and the number to go on with; 0 at the end.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: Its log has been compacted away, or can't be read.
            NotServing: The store can't be reached.
        """
        try:
            with reaching_store():
                entries, is_whole = await self._log_part(saga_id, from_seq, limit + 1)
        except UnreadableLog as error:
            raise RequestRefused("LOG_UNREADABLE", str(error)) from error
        page = entries[:limit]
        return page, page[-1].seq + 1 if page and not (is_whole and len(entries) <= limit) else 0

    async def _log_part(self, saga_id: str, from_seq: int, count: int) -> tuple[list[Stamped], bool]:
        """Read about so many entries, fewer where they are large; and tell whether the log ends with them."""
        entries: list[Stamped] = []
        size = 0
        while len(entries) < count and size < LOG_PART_BYTES:
            following = entries[-1].seq + 1 if entries else from_seq
            batches = await self.engine.store.read_log(saga_id, following, LOG_PART_BATCHES)
            if not batches and not entries:
                await self._check_log(saga_id)
            entries += decode_part(batches, following)
            size += sum(map(len, batches))
            if len(batches) < LOG_PART_BATCHES:
                return entries, True
        return entries, not await self.engine.store.read_log(saga_id, entries[-1].seq + 1, 1)

    async def _check_log(self, saga_id: str) -> None:
        """Say why a saga has no log, if it has none; it may only end before what was asked for."""
        if not await self.engine.store.read_log(saga_id, 1, 1) and not (await self._read(saga_id)).batches:
            raise RequestRefused("LOG_COMPACTED", f"the log of saga {saga_id!r} has been compacted away")

    async def record(self, saga_id: str) -> bytes:
        """Return the encoded SagaRecord of a saga.

        Raises:
            SagaNotFound: There is no such saga.
            NotServing: The store can't be reached.
        """
        live = self.engine.sagas.get(saga_id)
        return (await self._read(saga_id)).record if live is None else live.record

    # ---- watching and waiting

    async def watch(self, saga_id: str, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        """Yield entries from a number on, then new ones as they become durable, until the saga has ended.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: Its log has been compacted away.
            NotServing: This SEC runs the saga no longer, or the store can't be reached. Watch again.
        """
        feed = Feed()
        live = self.engine.sagas.get(saga_id)
        if live is not None:
            live.observe(feed)
        try:
            following = from_seq
            async for entries, state in self._past(saga_id, from_seq):
                following = entries[-1].seq + 1
                yield entries, state
                if state.is_final:
                    return
            while live is not None:
                entries = [entry for entry in await feed.take() if entry.seq >= following]
                if feed.overflowed:
                    feed.overflowed = False
                    async for entries, state in self._past(saga_id, following):
                        following = entries[-1].seq + 1
                        yield entries, state
                elif entries:
                    following = entries[-1].seq + 1
                    yield entries, live.state.state
                if live.state.finished is not None and following > live.state.seq:
                    return
                if live.is_gone and live.state.finished is None:
                    raise NotServing("this SEC runs the saga no longer; watch it again")
        finally:
            if live is not None:
                live.unobserve(feed)

    async def _past(self, saga_id: str, from_seq: int) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        following = from_seq
        while following:
            entries, following = await self.read_log(saga_id, following, 1000)
            if entries:
                view = None if following else await self.get(saga_id, full=False)
                state = SagaState.RUNNING if view is None else SagaState(view.state)
                if state.is_final and view is not None and view.log_length > entries[-1].seq:
                    state = SagaState.RUNNING
                yield entries, state

    async def wait(self, saga_id: str, *, timeout: float, or_needs_operator: bool) -> saga_pb2.Saga:
        """Wait until a saga has ended, or needs an operator if so wished, or the time is over.

        Args:
            saga_id: Saga.
            timeout: Seconds.
            or_needs_operator: Whether to return for that too.

        Returns:
            Its BASIC view.

        Raises:
            SagaNotFound: There is no such saga.
            NotServing: The store can't be reached.
        """
        live = self.engine.sagas.get(saga_id)
        if live is None:
            return await self.get(saga_id, full=False)
        reached = asyncio.Event()

        def observe(live: LiveSaga, _: Sequence[Stamped]) -> None:
            if live.is_gone or live.state.finished or (or_needs_operator and live.state.needs_operator):
                reached.set()

        observe(live, ())
        live.observe(observe)
        try:
            async with asyncio.timeout(timeout):
                await reached.wait()
        except TimeoutError:
            pass
        finally:
            live.unobserve(observe)
        return (
            self._live_view(live, full=False)
            if not live.is_gone or live.state.finished
            else await self.get(saga_id, full=False)
        )

    async def follow(
        self, saga_ids: Sequence[str], on_end: OnEnd, *, or_needs_operator: bool = False
    ) -> Callable[[], None]:
        """Call `on_end` once for each saga when it has ended; returns a function that stops that.

        Args:
            saga_ids: Sagas.
            on_end: Hears of the end, or of why it can't be told.
            or_needs_operator: Whether the need of an operator is an end too.
        """
        stops: list[Callable[[], None]] = []
        for saga_id in saga_ids:
            live = self.engine.sagas.get(saga_id)
            if live is None:
                on_end(await self._stored_end(saga_id, or_needs_operator=or_needs_operator))
            else:
                stops.append(self._follow(live, on_end, or_needs_operator=or_needs_operator))

        def stop() -> None:
            for each in stops:
                each()

        return stop

    def follow_live(self, saga_id: str, on_end: OnEnd, *, or_needs_operator: bool = False) -> bool:
        """Call `on_end` when a saga that this SEC runs has ended; False when it does not run it."""
        live = self.engine.sagas.get(saga_id)
        if live is None:
            return False
        self._follow(live, on_end, or_needs_operator=or_needs_operator)
        return True

    def _follow(self, live: LiveSaga, on_end: OnEnd, *, or_needs_operator: bool) -> Callable[[], None]:
        follower = partial(self._tell_end_of, on_end)
        live.follow(follower)
        if not or_needs_operator:
            return partial(live.unfollow, follower)

        def observe(live: LiveSaga, _: Sequence[Stamped]) -> None:
            if not live.is_gone and live.state.finished is None and live.state.needs_operator:
                stop()
                on_end(end_of(self._live_view(live, full=False)))

        def stop() -> None:
            live.unobserve(observe)
            live.unfollow(follower)

        live.observe(observe)
        observe(live, ())
        return stop

    def _tell_end_of(self, on_end: OnEnd, live: LiveSaga) -> None:
        if live.state.finished is not None:
            on_end(self._live_end(live))
        else:
            on_end(_end_error(live.saga_id, NotServing("this SEC runs the saga no longer; follow it again")))

    def _live_end(self, live: LiveSaga) -> saga_service_pb2.SagaEnd:
        saga = live.state
        assert saga.finished is not None
        if saga.unwinding:
            return end_of(self._live_view(live, full=False))
        end = saga_service_pb2.SagaEnd(saga_id=live.saga_id, state=saga_pb2.SagaState.ValueType(saga.finished))
        if saga.failed_node is not None:
            end.failed_node = saga.topology.nodes[saga.failed_node].name
        if (output := saga.result()) is not None:
            fill_payload(end.output, output)
        return end

    async def _stored_end(self, saga_id: str, *, or_needs_operator: bool) -> saga_service_pb2.SagaEnd:
        try:
            view = await self.get(saga_id, full=False)
        except RuntimeRefusal as refusal:
            return _end_error(saga_id, refusal)
        if SagaState(view.state).is_final or (or_needs_operator and view.needs_operator):
            return end_of(view)
        return _end_error(saga_id, NotServing("this SEC does not run the saga; follow it again"))

    # ---- orders

    async def request(self, saga_id: str, given: Order) -> saga_pb2.Saga:
        """Give an order to a saga; returns its BASIC view once the order is durable.

        Raises:
            SagaNotFound: There is no such saga.
            RequestRefused: The order makes no sense in its state.
            NotServing: This SEC can't answer now. Safe to repeat.
        """
        live = self.engine.sagas.get(saga_id)
        if live is None:
            return await self._request_of_stored(saga_id, given)
        answered: asyncio.Future[Decision | None] = asyncio.get_running_loop().create_future()
        self.engine.post(live, given, partial(_answer, answered))
        decision = await answered
        if decision is None:
            return await self._request_of_stored(saga_id, given)
        if decision.refusal is not None:
            raise RequestRefused(decision.refusal.code, decision.refusal.message)
        return self._live_view(live, full=False)

    async def _request_of_stored(self, saga_id: str, given: Order) -> saga_pb2.Saga:
        stored = await self._read(saga_id)
        if saga_id in self.engine.quarantined:
            raise RequestRefused("SAGA_QUARANTINED", self.engine.quarantined[saga_id])
        if stored.done is None:
            raise NotServing("this SEC does not run the saga now; try again")
        if not stored.batches:
            raise RequestRefused("SAGA_FINISHED", "the saga has ended")
        folded: Folded = self._folder.fold(stored)
        refusal = decide(folded.saga, given, 0.0, 0.0).refusal
        if refusal is not None:
            raise RequestRefused(refusal.code, refusal.message)
        return log_pb2.DoneRecord.FromString(stored.done).saga

    # ---- for operators

    async def explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        """Say why the nodes of a saga wait; nothing for one that has ended.

        Raises:
            SagaNotFound: There is no such saga.
            NotServing: The store can't be reached.
        """
        live = self.engine.sagas.get(saga_id)
        if live is None:
            await self._read(saga_id)
            return admin_service_pb2.ExplainSagaResponse()
        return explain(self.engine.dispatcher, live, self.engine.clock.wall(), self.engine.breakpoints.points)

    def workers(self) -> list[admin_service_pb2.WorkerStatus]:
        """Return the worker sessions of this SEC."""
        return [worker_status(session) for session in self.engine.dispatcher.sessions.values()]


def _nothing() -> None:
    """Do nothing."""


def _answer(answered: asyncio.Future[Decision | None], decision: Decision | None) -> None:
    if not answered.done():
        answered.set_result(decision)


def _end_error(saga_id: str, refusal: RuntimeRefusal) -> saga_service_pb2.SagaEnd:
    code = 5 if isinstance(refusal, SagaNotFound) else 14
    error = saga_service_pb2.BatchError(code=code, reason=refusal.code, message=str(refusal))
    return saga_service_pb2.SagaEnd(saga_id=saga_id, error=error)
