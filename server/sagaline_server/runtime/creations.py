"""Creating sagas: one write makes the record, the ownership and the first entries, so none is without the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from sagaline.v1 import log_pb2
from sagaline_server.core.entries import SagaCreated
from sagaline_server.core.state import Saga
from sagaline_server.core.turn import Turn
from sagaline_server.ports.store import ListedSaga, NewSaga, Status, WriteResult
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.requests import (
    CreateFate,
    Creation,
    NotServing,
    Overloaded,
    RequestRefused,
    RuntimeRefusal,
)
from sagaline_server.runtime.timers import DEADLINE
from sagaline_server.wire.entries import encode_batch
from sagaline_server.wire.views import NO_PAIRS, About

PENDING_CREATES_MAX = 10_000
"""Creations under way; more are refused with OVERLOADED."""

OnCreated = Callable[[CreateFate | RuntimeRefusal], None]
"""Called once: with a fate that is durable, or with a refusal after which the creation may be repeated."""


class Creations:
    """Creations under way."""

    def __init__(self, engine: SagaEngine) -> None:
        """Create sagas for an engine."""
        self._engine = engine
        self._creating: dict[str, list[tuple[Creation, OnCreated]]] = {}
        """Each with those of the same id that wait for its outcome; the first is being written."""
        engine.creating = self._creating

    def forget_all(self) -> None:
        """Give up what is under way: this incarnation is dead, and what it wrote last is not known."""
        creating = list(self._creating.values())
        self._creating.clear()
        for waiting in creating:
            self._give_up(waiting)

    def _give_up(self, waiting: Sequence[tuple[Creation, OnCreated]]) -> None:
        for _, on_created in waiting:
            on_created(NotServing("this SEC lost its lease; create the saga again, with the same id"))

    def create_one(self, creation: Creation, on_created: OnCreated) -> None:
        """Create a saga; `on_created` is called once its fate is durable.

        Raises:
            NotServing: This SEC takes no sagas now.
            Overloaded: Too many creations are under way.
        """
        if not self._engine.is_serving:
            raise NotServing("this SEC is starting or stopping; try again")
        if len(self._creating) >= PENDING_CREATES_MAX:
            raise Overloaded(f"{PENDING_CREATES_MAX} creations are under way; try again")
        saga_id = creation.spec.saga_id
        live = self._engine.sagas.get(saga_id)
        if live is not None:
            on_created(_compare(live.state.digest, creation))
        elif saga_id in self._creating:
            self._creating[saga_id].append((creation, on_created))
        else:
            self._begin_create(creation, on_created)

    def _begin_create(self, creation: Creation, on_created: OnCreated) -> None:
        spec = creation.spec
        self._creating[spec.saga_id] = [(creation, on_created)]
        told = About(
            creation.create_time,
            dict(spec.labels) if spec.labels else NO_PAIRS,
            spec.scopes,
            dict(spec.trace_context) if spec.trace_context else NO_PAIRS,
        )
        state = Saga(creation.topology, spec.params, creation.digest)
        live = LiveSaga(spec.saga_id, creation.record, told, state, claim=None)
        turn = live.turn(1, self._engine.now(), self._engine.draw, self._engine.breakpoints.points)
        turn.write(SagaCreated(creation.digest, spec.start_paused, spec.start_delay))
        turn.go_on(partial(self._engine.place, live), may_close=False)
        writer_id = self._engine.new_writer_id()
        new = NewSaga(
            saga_id=spec.saga_id,
            record=creation.record,
            batch=encode_batch(turn.entries, writer_id),
            listed=ListedSaga(creation.topology.graph_name, creation.create_time, spec.labels, spec.scopes),
            writer_id=writer_id,
        )
        live.is_writing = True
        self._engine.commit.submit(new, partial(self._created, creation, live, turn))

    def _created(self, creation: Creation, live: LiveSaga, turn: Turn, result: WriteResult) -> None:
        waiting = self._creating.get(live.saga_id)
        if waiting is None or waiting[0][0] is not creation:
            return  # of an incarnation that is dead now; whoever adopts the saga runs it
        del self._creating[live.saga_id]
        if result.status is Status.DONE:
            self._begin(creation, live, turn, result)
            reach("create.durable")
            digest = creation.digest
        else:
            self._engine.release(live, turn)
            self._engine.admissions.gone(live)
            if result.status is Status.REFUSED:
                for _, on_created in waiting:
                    on_created(RequestRefused("TOO_LARGE", "the store can't take a saga of this size"))
                return
            if result.status is not Status.EXISTS or result.record is None:
                self._give_up(waiting)
                self._engine.incarnation_lost.set()
                return
            digest = log_pb2.SagaRecord.FromString(result.record).digest
        for i, (asked, on_created) in enumerate(waiting):
            is_new = i == 0 and result.status is Status.DONE
            on_created(CreateFate.CREATED if is_new else _compare(digest, asked))

    def _begin(self, creation: Creation, live: LiveSaga, turn: Turn, result: WriteResult) -> None:
        live.claim = result.claim
        self._engine.begin(live)
        if creation.spec.deadline is not None:
            self._engine.timers.add(live.saga_id, DEADLINE, creation.create_time + creation.spec.deadline)
        self._engine.note_waits(live, turn)
        self._engine.written(live, turn, (), result)
        for node, kind in turn.unplaced:
            # No slot was free when the saga was decided, and a worker may have come while it was written.
            self._engine.dispatcher.look_again(live.action_key(node, kind))
        if turn.points is not self._engine.breakpoints.points and not live.is_gone:
            self._engine.let_start(live)
        self._engine.metrics.created += 1

    async def create(self, creations: Sequence[Creation]) -> Sequence[CreateFate | RuntimeRefusal]:
        """Create sagas, each on its own; one fate for each, in order, once all are durable."""
        fates: list[CreateFate | RuntimeRefusal | None] = [None] * len(creations)
        done = asyncio.get_running_loop().create_future()
        left = len(creations)

        def note(i: int, fate: CreateFate | RuntimeRefusal) -> None:
            nonlocal left
            fates[i] = fate
            left -= 1
            if not left and not done.done():
                done.set_result(None)

        for i, creation in enumerate(creations):
            try:
                self.create_one(creation, partial(note, i))
            except RuntimeRefusal as refusal:
                note(i, refusal)
        if left:
            await done
        return [fate for fate in fates if fate is not None]


def _compare(digest: bytes, creation: Creation) -> CreateFate:
    return CreateFate.EXISTED if digest == creation.digest else CreateFate.CONFLICT
