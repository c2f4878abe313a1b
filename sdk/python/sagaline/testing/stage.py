"""A SEC, its worker and its store in this process, through all their lives: where sagas of a test run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sagaline.actions import Action
from sagaline.client.sagas import NewSaga
from sagaline.errors import FieldProblem, InvalidRequest
from sagaline.testing.attempts import Attempt, Course, Fate, as_it_goes, told
from sagaline.testing.clock import Chance, VirtualClock
from sagaline.testing.failures import CheckFailed, NoEnd
from sagaline.testing.life import Life
from sagaline.testing.loop import VirtualLoop
from sagaline.testing.worker import InProcessWorker
from sagaline.v1 import saga_pb2
from sagaline.worker.results import Outcome
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import Refused
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.core.graph import UndoKind
from sagaline_server.core.inputs import Order
from sagaline_server.runtime.explain import explain
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.runtime.requests import CreateFate, RuntimeRefusal
from sagaline_server.store.memory import MemoryBackend

LOG_PAGE = 1000


class Stage:
    """One cluster of one SEC.

    Args:
        loop: Where everything runs.
        actions: What its worker serves.
        seed: Decides jitter and ids.
        slots: Attempts that run at the same time; 1: one by one, whatever their pools.
        attempts_max: Most attempts of one side of one node.
    """

    def __init__(
        self, loop: VirtualLoop, actions: Iterable[Action[Any, Any]], *, seed: int, slots: int, attempts_max: int
    ) -> None:
        self._loop = loop
        self._clock = VirtualClock(loop)
        self._chance = Chance(seed)
        self._backend = MemoryBackend()
        self._slots = slots
        self._attempts_max = attempts_max
        self._maker = CreationMaker(self._clock, self._chance.entropy)
        self._life = Life(self._backend, self._clock, self._chance)
        self._pulse: asyncio.Future[None] | None = None
        self._restarting: asyncio.Task[None] | None = None
        self._course: Course = as_it_goes
        self._worker = InProcessWorker(loop, self._clock, actions)
        self._worker.course = self._watched
        self._worker.on_trouble = self._fail
        self._trouble: BaseException | None = None

    async def begin(self) -> None:
        """Start the SEC and its worker."""
        await self._life.begin()
        self._connect()
        self._restarting = asyncio.create_task(self._restart_when_crashed(), name="restart")

    def _connect(self) -> None:
        self._worker.connect(self._life, self._slots, one_pool=self._slots == 1)

    async def _restart_when_crashed(self) -> None:
        while True:
            await self._worker.crashes.wait()
            self._worker.crashes.clear()
            await self._life.crash()
            self._life = Life(self._backend, self._clock, self._chance)
            await self._life.begin()
            self._connect()
            self._beat()

    async def close(self) -> None:
        """End everything."""
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)
        await self._worker.close()
        await self._life.crash()

    # ---- attempts

    def follow(self, course: Course) -> None:
        """Let attempts go as a check wishes."""
        self._course = course

    async def _watched(self, attempt: Attempt) -> Outcome | Fate:
        fate = await self._course(attempt)
        if attempt.ref.attempt >= self._attempts_max and not isinstance(fate, Fate):
            raise NoEnd(
                f"{attempt.place} was tried {attempt.ref.attempt} times, and the last attempt {told(fate)}. "
                "Give it a retry policy with an end, or `attempts_max` if so many are meant.",
                node=attempt.place.node,
                action=attempt.place.action,
            )
        return fate

    def undo_kind(self, saga_id: str, node: str) -> UndoKind | None:
        """Return what undoing a node that runs means; None past which there is no way back."""
        live = self._life.engine.sagas[saga_id]
        flat = live.state.topology.nodes[live.state.topology.index[node]]
        assert flat.action is not None
        return None if flat.action.commits else flat.action.undo

    # ---- sagas

    async def create(self, new: NewSaga[Any]) -> None:
        """Create a saga.

        Raises:
            InvalidRequest: The SEC refuses it.
        """
        try:
            creation = self._maker.make(new.full_spec(), self._maker.moment())
        except Refused as refused:
            problems = [FieldProblem(each.field, each.reason, each.message, each.node) for each in refused.problems]
            text = "; ".join(map(str, problems)) or str(refused)
            raise InvalidRequest(text, reason=refused.reason, problems=problems) from None
        (fate,) = await self._life.runtime.create([creation])
        if isinstance(fate, RuntimeRefusal):
            raise InvalidRequest(str(fate), reason=fate.code) from fate
        if fate is CreateFate.CONFLICT:
            raise InvalidRequest(f"there is a saga {new.saga_id} of other content", reason="SAGA_ALREADY_EXISTS")

    async def get(self, saga_id: str) -> saga_pb2.Saga:
        """Return a saga as it stands."""
        return await self._life.runtime.get(saga_id, full=True)

    async def log(self, saga_id: str) -> list[Stamped]:
        """Return what a saga has logged."""
        entries: list[Stamped] = []
        following = 1
        while following:
            page, following = await self._life.runtime.read_log(saga_id, following, LOG_PAGE)
            entries += page
        return entries

    async def order(self, saga_id: str, given: Order) -> None:
        """Give an order to a saga."""
        await self._life.runtime.request(saga_id, given)

    async def end_of(self, saga_id: str) -> saga_pb2.Saga:
        """Wait until a saga has ended, or needs an operator.

        Raises:
            CheckFailed: It never will.
        """
        while True:
            self._raise_trouble()
            pulse = self._pulse = self._loop.create_future()
            live = self._life.engine.sagas.get(saga_id)
            if live is not None:
                live.observe(self._observe)
            view = await self._life.runtime.get(saga_id, full=True)
            if SagaState(view.state).is_final or view.needs_operator:
                return view
            await pulse

    async def rest(self, seconds: float) -> None:
        """Let time pass.

        Raises:
            CheckFailed: Something has gone wrong meanwhile.
        """
        await asyncio.sleep(seconds)
        self._raise_trouble()

    def _observe(self, live: LiveSaga, _entries: Sequence[Stamped]) -> None:
        live.unobserve(self._observe)
        self._beat()

    def _beat(self) -> None:
        if self._pulse is not None and not self._pulse.done():
            self._pulse.set_result(None)

    # ---- trouble

    def _fail(self, error: BaseException) -> None:
        if self._trouble is None:
            self._trouble = error
        self._beat()

    def _raise_trouble(self) -> None:
        trouble, self._trouble = self._trouble, None
        if trouble is not None:
            raise trouble

    def fail_waiting(self, error: Callable[[str], CheckFailed]) -> bool:
        """Let the wait for a saga fail, with an error made of why it waits; False where nobody waits for one."""
        if self._pulse is None or self._pulse.done():
            return False
        self._fail(error(self.what_waits()))
        return True

    def what_waits(self) -> str:
        """Say why the nodes that wait do so, a line each."""
        lines = [
            f"  node {wait.node} of saga {live.saga_id}: {wait.message}"
            for live in self._life.engine.sagas.values()
            for wait in explain(self._life.dispatcher, live, self._clock.wall()).waits
        ]
        return "\n".join(lines) or "  nothing of it is in flight"
