"""The worker of a SEC in this process: the dispatcher's session on one side, the SDK's executor on the other."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from sagaline.actions import Action
from sagaline.testing.attempts import Attempt, Course, Crash, Fate, Lost, as_it_goes
from sagaline.testing.clock import VirtualClock
from sagaline.testing.life import Life
from sagaline.testing.loop import VirtualLoop
from sagaline.v1 import failure_pb2, payload_pb2
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import failures
from sagaline.worker.attempts import Attempt as Started
from sagaline.worker.attempts import CancelReason, Ref
from sagaline.worker.durations import seconds_of
from sagaline.worker.executor import Executor
from sagaline.worker.inbox import Inbox
from sagaline.worker.results import Outcome
from sagaline.worker.served import Catalog
from sagaline.worker.session import CANCEL_REASONS
from sagaline_server.core.decide import Lost as LostAttempt
from sagaline_server.dispatch.dispatcher import ref_key
from sagaline_server.dispatch.results import take_progress, take_result
from sagaline_server.dispatch.session import Session

WORKER_ID = "test"
THREADS_MAX = 64
CLOSE_SECONDS = 5.0


class InProcessWorker:
    """Runs actions; made on the loop that they run on. `crash` is called where an attempt's course says so."""

    def __init__(self, loop: VirtualLoop, clock: VirtualClock, actions: Iterable[Action[Any, Any]]) -> None:
        self._loop = loop
        self._clock = clock
        self._actions = tuple(actions)
        self._catalog = Catalog(self._actions, {action.pool for action in self._actions})
        self._inbox = Inbox(self._wake_inbox)
        self._executor = Executor(self._catalog.runnables, self._inbox, threads_max=THREADS_MAX, stack_traces=True)
        self._running: dict[Ref, asyncio.Future[Outcome | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._life: Life | None = None
        self._session: Session | None = None
        self._streams = 0
        self.course: Course = as_it_goes
        self.crashes = asyncio.Event()
        """Set when the process is to die."""
        self.on_trouble: Callable[[BaseException], None] = _ignore
        """Called with what went wrong in a course: what a check has found, or an error in a snapshot of the user's."""

    # ---- the SEC's side

    def connect(self, life: Life, slots: int, *, one_pool: bool) -> None:
        """Serve a SEC, with so many slots for each pool, or with one pool for all actions."""
        self._streams += 1
        hello = pb.Hello(protocol_version=1, worker_id=WORKER_ID, stream_epoch=self._streams)
        self._catalog.describe(hello)
        if one_pool:
            for spec in hello.actions:
                spec.slot_pool = ""
        for spec in hello.actions:
            hello.capacity.max_in_flight_by_pool[spec.slot_pool] = slots
        self._life = life
        self._session, _ = life.dispatcher.connect(hello, self._wake_reader, self._clock.wall())
        life.dispatcher.reconcile(self._session)
        life.dispatcher.pump(self._session)

    def _wake_reader(self) -> None:
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        session, life = self._session, self._life
        if session is None or life is None:
            return
        while (frame := session.take_frame()) is not None:
            session.received(frame.sequence)
            for invocation in frame.invocations:
                task = self._loop.create_task(self._attempt(life, session, invocation))
                self._tasks.add(task)
                task.add_done_callback(self._task_done)
            for cancellation in frame.cancellations:
                reason = CANCEL_REASONS.get(cancellation.reason, CancelReason.SAGA_UNWINDING)
                self._executor.stop(Ref.of(cancellation.ref), reason)
            for adoption in frame.adoptions:
                entries = [pb.InFlightEntry(ref=ref, state=pb.IN_FLIGHT_STATE_NOT_HELD) for ref in adoption.refs]
                life.dispatcher.report(session, pb.InFlightReport(entries=entries))

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.on_trouble(error)

    async def _attempt(self, life: Life, session: Session, invocation: pb.Invocation) -> None:
        fate = await self.course(Attempt(invocation, self._run))
        if life is not self._life:
            return  # that life is over, and nobody hears of it
        key = ref_key(invocation.ref)
        if isinstance(fate, Crash):
            self._life = self._session = None
            self.crashes.set()
        elif isinstance(fate, Lost):
            life.dispatcher.answered(session, key)
            life.engine.ended(key[0], LostAttempt(key[1], key[2], key[3], "its answer was lost", uncounted=True))
            life.dispatcher.pump(session)
        elif not isinstance(fate, Fate):
            life.dispatcher.answered(session, key)
            take_result(life.engine, key, _message(invocation, fate), _ignore)
            life.dispatcher.pump(session)

    # ---- the user's side

    async def _run(self, invocation: pb.Invocation) -> Outcome:
        ref = Ref.of(invocation.ref)
        runnable = self._catalog.runnables[invocation.action, invocation.version, ref.kind]
        ended: asyncio.Future[Outcome | None] = self._loop.create_future()
        self._running[ref] = ended
        if runnable.is_async:
            self._loop.coroutines += 1
        else:
            self._loop.threads += 1
        limit = self._limit(ref, invocation)
        try:
            self._executor.start([Started(ref, invocation, "", "", invocation.epoch)])
            outcome = await ended
        finally:
            if runnable.is_async:
                self._loop.coroutines -= 1
            else:
                self._loop.threads -= 1
            if limit is not None:
                limit.cancel()
            self._running.pop(ref, None)
        return failures.cancelled("it was stopped before it had started") if outcome is None else outcome

    def _limit(self, ref: Ref, invocation: pb.Invocation) -> asyncio.TimerHandle | None:
        """Stop an attempt when its start_to_close is over, as a worker does."""
        if not invocation.HasField("start_to_close"):
            return None
        return self._loop.call_later(
            seconds_of(invocation.start_to_close), self._executor.stop, ref, CancelReason.TIMED_OUT
        )

    def _wake_inbox(self) -> None:
        self._loop.call_soon_threadsafe(self._empty_inbox)

    def _empty_inbox(self) -> None:
        progress, ends = self._inbox.take()
        if self._life is not None:
            for ref, details in progress.items():
                message = pb.Progress(ref=ref.message())
                if details is not None:
                    message.details.CopyFrom(details)
                take_progress(self._life.engine, ref_key(message.ref), message)
        for ref, outcome in ends:
            self._executor.ended(ref)
            ended = self._running.get(ref)
            if ended is not None and not ended.done():
                ended.set_result(outcome)

    async def close(self) -> None:
        """End what runs, and let go of the threads."""
        self._life = self._session = None
        tasks = list(self._tasks)
        for ref in list(self._running):
            self._executor.stop(ref, CancelReason.WORKER_STOPPING)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._executor.close(CLOSE_SECONDS)


def _message(invocation: pb.Invocation, outcome: Outcome) -> pb.InvocationResult:
    message = pb.InvocationResult(ref=invocation.ref, epoch=invocation.epoch)
    if isinstance(outcome, failure_pb2.Failure):
        message.failure.CopyFrom(outcome)
    elif isinstance(outcome, payload_pb2.Payload):
        message.output.CopyFrom(outcome)
    return message


def _ignore(_what: object) -> None:
    """Nobody waits: of acknowledgements, because a result that was delivered by a call can't be lost on a wire."""
