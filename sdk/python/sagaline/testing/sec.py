"""The SEC of a test: runs sagas in this process on virtual time, and checks what their actions promise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

from sagaline.actions import Action
from sagaline.client.ends import result_of
from sagaline.client.sagas import NewSaga, SagaOptions
from sagaline.errors import DefinitionError
from sagaline.graph import Graph
from sagaline.testing.checks import Check, Checks
from sagaline.testing.clock import WALL_START
from sagaline.testing.failures import CheckFailed, NotHappening
from sagaline.testing.loop import THREAD_SECONDS, VirtualLoop
from sagaline.testing.stage import Stage
from sagaline.testing.worlds import Snapshot
from sagaline.v1 import log_pb2, saga_pb2
from sagaline.values import encode
from sagaline_server.core.inputs import Order, Signal, Unwind
from sagaline_server.wire.entries import entry_message
from sagaline_server.wire.payloads import payload_from

P = TypeVar("P")
R = TypeVar("R")
T = TypeVar("T")

SLOTS = 100
ATTEMPTS_MAX = 1000


class TestedSaga(Generic[R]):
    """A saga that was created in a test."""

    __test__ = False  # pytest takes it for a class of tests

    def __init__(self, sec: InProcessSec, new: NewSaga[R]) -> None:
        self._sec = sec
        self._new = new

    @property
    def saga_id(self) -> str:
        """Its id."""
        return self._new.saga_id

    def get(self) -> saga_pb2.Saga:
        """Return it as it stands now, whole."""
        return self._sec.complete(self._sec.stage.get(self.saga_id))

    def log(self) -> list[log_pb2.LogEntry]:
        """Return what it has logged."""
        return [entry_message(entry) for entry in self._sec.complete(self._sec.stage.log(self.saga_id))]

    def signal(self, name: str, payload: object = None) -> None:
        """Send it a signal."""
        self._order(Signal(name, payload_from(encode(payload)), actor="test"))

    def unwind(self, reason: str = "") -> None:
        """Ask it to unwind."""
        self._order(Unwind(actor="test", reason=reason))

    def _order(self, given: Order) -> None:
        self._sec.complete(self._sec.stage.order(self.saga_id, given))

    def wait(self) -> saga_pb2.Saga:
        """Let virtual time pass until it has ended or needs an operator; returns it as it stands then.

        Raises:
            NotHappening: It waits for something that will not come by itself.
            NoEnd: A node is tried again and again.
        """
        return self._sec.complete(self._sec.stage.end_of(self.saga_id))

    def result(self) -> R:
        """Wait for its end, and return its decoded result.

        Raises:
            SagaNotSucceeded: It has none; the class says why.
        """
        return result_of(self._new, self.wait())


class InProcessSec:
    """A SEC with a worker for your actions, in this process, on virtual time.

    ```python
    with InProcessSec([charge, book_hotel], snapshot=bank.copy) as sec:
        assert sec.run(trip, "card-1") == "room 7"
        sec.assert_unwinds(trip, lambda: "card-1")
    ```

    The SEC's own machine runs, over a store in memory; actions run as a worker runs them. Time is virtual: a day of
    delays or backoff passes at once. It starts with the first call, and its methods are called from plain functions:
    a test that is a coroutine has a loop of its own, and can't wait for this one.

    Args:
        actions: What the worker serves.
        snapshot: Returns what the actions change, as values that can be compared; may be a coroutine function. The
            checks need it; `run` does not.
        seed: Decides jitter. Ids of sagas are new in every run: what actions change may be there for longer.
        slots: Attempts that run at the same time. The checks run them one by one.
        attempts_max: Attempts of one side of one node after which there is no hope.
    """

    def __init__(
        self,
        actions: Iterable[Action[Any, Any]],
        *,
        snapshot: Snapshot | None = None,
        seed: int = 0,
        slots: int = SLOTS,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> None:
        self._actions = tuple(actions)
        self._snapshot = snapshot
        self._seed = seed
        self._slots = slots
        self._attempts_max = attempts_max
        self._loop = VirtualLoop()
        self._loop.on_idle = self._idle
        self._loop.on_stall = self._stalled
        self._main: asyncio.Task[Any] | None = None
        self._error: CheckFailed | None = None
        self._stages: list[Stage] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """End it, with whatever still runs."""
        if self._loop.is_closed():
            return
        try:
            if self._main is not None:
                self._complete(self._close_all())
        finally:
            self._loop.close()

    async def _close_all(self) -> None:
        while self._stages:
            await self._stages.pop().close()
        await self._loop.shutdown_asyncgens()
        await self._loop.end_threads()

    # ---- running

    @property
    def stage(self) -> Stage:
        """Where the sagas of `create` run."""
        if not self._stages:
            self._complete(self._begin(self._slots))
        return self._stages[0]

    async def _begin(self, slots: int) -> Stage:
        stage = Stage(self._loop, self._actions, seed=self._seed, slots=slots, attempts_max=self._attempts_max)
        self._stages.append(stage)
        await stage.begin()
        return stage

    async def _end(self, stage: Stage) -> None:
        self._stages.remove(stage)
        await stage.close()

    def complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop of the actions, to its end: for what they share, such as a pool of connections.

        Raises:
            NotHappening: It waits for something that will not come by itself.
        """
        __tracebackhide__ = True
        return self._complete(coroutine)

    def _complete(self, coroutine: Coroutine[Any, Any, T]) -> T:
        __tracebackhide__ = True
        if _is_in_a_loop():
            coroutine.close()
            raise RuntimeError(
                "sagaline.testing runs a loop of its own: call it from a plain test, not from an `async def` one"
            )
        self._error = None
        self._main = main = self._loop.create_task(coroutine)
        try:
            return self._loop.run_until_complete(main)
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        except CheckFailed as failed:
            raise failed.with_traceback(None) from None  # where in the kit it was found helps nobody

    def _idle(self) -> None:
        self._give_up(lambda what: NotHappening(f"it waits, and nothing will happen by itself any more:\n{what}"))

    def _stalled(self) -> None:
        text = (
            f"a function in a thread has run for {THREAD_SECONDS:g} s of real time; meanwhile no virtual time passes:"
        )
        self._give_up(lambda what: CheckFailed(f"{text}\n{what}"))

    def _give_up(self, error: Callable[[str], CheckFailed]) -> None:
        if any(stage.fail_waiting(error) for stage in self._stages):
            return
        self._error = error("\n".join(stage.what_waits() for stage in self._stages))
        if self._main is not None:
            self._main.cancel()

    @property
    def now(self) -> datetime:
        """The virtual time of day."""
        return datetime.fromtimestamp(WALL_START + self._loop.time(), UTC)

    def advance(self, time: timedelta) -> None:
        """Let virtual time pass, and everything happen that is due by then."""
        self.complete(self.stage.rest(time.total_seconds()))

    def create(self, graph: Graph[P, R], params: P, **options: Unpack[SagaOptions]) -> TestedSaga[R]:
        """Create a saga; it goes on while `wait`, `result` or `advance` let time pass.

        Raises:
            InvalidRequest: The SEC refuses it; `problems` has all reasons.
            DefinitionError: The graph needs an action that was not given.
        """
        self._check_actions(graph)
        new = NewSaga(graph, params, **options)
        self.complete(self.stage.create(new))
        return TestedSaga(self, new)

    def run(self, graph: Graph[P, R], params: P, **options: Unpack[SagaOptions]) -> R:
        """Run a saga to its end, and return its decoded result.

        Raises:
            SagaUnwound: It ended, and nothing of it remains.
            SagaNeedsOperator: It is stuck, held or quarantined.
            NotHappening: It waits for something that will not come by itself.
        """
        return self.create(graph, params, **options).result()

    def _check_actions(self, graph: Graph[Any, Any]) -> None:
        given = {(action.name, action.version) for action in self._actions}
        missing = sorted(f"{name} version {version}" for name, version in used(graph.to_proto()) - given)
        if missing:
            raise DefinitionError(f"graph {graph.name} needs actions that were not given: {', '.join(missing)}")

    # ---- checking

    def assert_idempotent(
        self,
        graph: Graph[P, Any],
        params: Callable[[], P],
        *,
        signals: Mapping[str, object] | None = None,
        outputs_may_differ: Collection[str] = (),
    ) -> None:
        """Check that every action and undo action does no more when it comes twice with the same key.

        Of each the first answer is lost, so that the SEC sends it again. After that the world must be as after the
        first, and the output the same.

        Args:
            graph: What to run; it has to succeed where nothing is in its way.
            params: Makes parameters, new ones for each saga.
            signals: Payloads of the signals that its nodes wait for.
            outputs_may_differ: Nodes whose output need not be the same.

        Raises:
            NotIdempotent: One does more, or answers otherwise.
        """
        __tracebackhide__ = True
        self._check(graph, params, signals, lambda checks: checks.idempotent(outputs_may_differ))

    def assert_unwinds(
        self, graph: Graph[P, Any], params: Callable[[], P], *, signals: Mapping[str, object] | None = None
    ) -> None:
        """Check that nothing of a saga remains, wherever it fails.

        It is run once for each node, with new parameters; the node fails before its action runs, the saga has to
        unwind, and the world has to be as before. Then once more for those that no failure undoes, by a request to
        unwind. A node after the point of no return fails once: the saga has to go on and succeed.

        Args:
            graph: What to run; it has to succeed where nothing is in its way.
            params: Makes parameters, new ones for each saga.
            signals: Payloads of the signals that its nodes wait for.

        Raises:
            NotUndone: Something remains.
            NotReached: The node never came, so that nothing was proved.
            WrongEnd: The saga came to another end.
        """
        __tracebackhide__ = True
        self._check(graph, params, signals, Checks.unwinds)

    def assert_survives_crashes(
        self, graph: Graph[P, Any], params: Callable[[], P], *, signals: Mapping[str, object] | None = None
    ) -> None:
        """Check that a saga comes to the same end when SEC and worker die before a result is recorded.

        It is run once for each action and undo action, with new parameters: when that has run, and nobody has heard
        of its result, both die and start again. It is run again, which must leave the world as it is.

        Args:
            graph: What to run; it has to succeed where nothing is in its way.
            params: Makes parameters, new ones for each saga.
            signals: Payloads of the signals that its nodes wait for.

        Raises:
            NotIdempotent: What ran again did more.
            NotUndone: A saga that unwound left something.
            NotReached: The node never came, so that nothing was proved.
            WrongEnd: The saga came to another end.
        """
        __tracebackhide__ = True
        self._check(graph, params, signals, Checks.survives_crashes)

    def assert_undo_wins(
        self, graph: Graph[P, Any], params: Callable[[], P], *, signals: Mapping[str, object] | None = None
    ) -> None:
        """Check that an action which comes after its undo changes nothing.

        For each node with an undo action, in sagas with new parameters: undo, then the action; and action, undo, then
        the action again. The world has to be as before, and the late action may answer what it likes.

        Args:
            graph: What to run; it has to succeed where nothing is in its way.
            params: Makes parameters, new ones for each saga.
            signals: Payloads of the signals that its nodes wait for.

        Raises:
            NotUndone: The late action had an effect, or the undo left something.
            NotReached: The node never came, so that nothing was proved.
            WrongEnd: The undo failed, or the saga came to another end.
        """
        __tracebackhide__ = True
        self._check(graph, params, signals, Checks.undo_wins)

    def _check(
        self,
        graph: Graph[P, Any],
        params: Callable[[], P],
        signals: Mapping[str, object] | None,
        run: Callable[[Checks], Coroutine[Any, Any, None]],
    ) -> None:
        __tracebackhide__ = True
        if self._snapshot is None:
            raise DefinitionError("the checks compare snapshots of what the actions change: give `snapshot`")
        self._check_actions(graph)
        check = Check(lambda: NewSaga(graph, params()), dict(signals or {}), self._snapshot)
        self.complete(run(Checks(check, lambda: self._begin(1), self._end)))


def _is_in_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def used(graph: saga_pb2.Graph) -> set[tuple[str, str]]:
    """Return name and version of the actions that a graph uses."""
    found: set[tuple[str, str]] = set()
    for node in graph.nodes:
        kind = node.WhichOneof("kind")
        body: Any = node
        if kind == "map":
            body = node.map
            kind = body.WhichOneof("each")
        if kind == "subsaga":
            found |= used(body.subsaga.graph)
        elif kind == "action":
            found.add((body.action.action, body.action.version or "1"))
    return found
