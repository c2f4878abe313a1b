"""The I/O side of a worker: an event loop in a thread of its own, with the machine, its streams and its clock.

User code runs elsewhere, so that whatever it does to its own loop, heartbeats are sent and frames are read. All of
the machine is touched by this thread alone; others reach it through `post` and the inbox.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress

from grpc import aio

from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.effects import Closed, Effect, EndStream, Forget, Note, Reconnect, Start, Stop, Welcomed
from sagaline.worker.executor import Executor
from sagaline.worker.holdings import Holdings
from sagaline.worker.inbox import Inbox
from sagaline.worker.session import Session, SessionState
from sagaline.worker.stream import Link

logger = logging.getLogger("sagaline.worker")


class Engine:
    """Started once; ends by itself when every session is closed."""

    def __init__(
        self,
        holdings: Holdings,
        sessions: Sequence[tuple[Session, Callable[[], aio.Channel]]],
        on_welcome: Callable[[Welcomed], None],
        on_end: Callable[[str | None], None],
    ) -> None:
        """Take what to run, and whom to tell: both are called in the I/O thread.

        Args:
            holdings: Shared by the sessions.
            sessions: Each with what opens a channel to its SEC.
            on_welcome: A session is open.
            on_end: The engine has ended; with an error where nobody asked for that.
        """
        self.inbox = Inbox(lambda: self.post(self._empty_inbox))
        self._holdings = holdings
        self._sessions = sessions
        self._on_welcome = on_welcome
        self._on_end = on_end
        self._executor: Executor | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="sagaline-io", daemon=True)
        self._links: dict[str, Link] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._error: str | None = None

    # ---- from any thread

    def start(self, executor: Executor) -> None:
        """Start the thread."""
        self._executor = executor
        self._thread.start()

    def post(self, call: Callable[[], None]) -> None:
        """Call something in the I/O thread, soon. Nothing happens once that has ended."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(call)

    def drain(self, timeout: float) -> None:
        """Begin to leave, or leave sooner than was said before."""
        self.post(lambda: self._drain(timeout))

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; False if it has not come after `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def connected(self) -> bool:
        """Whether a session is open at this moment."""
        return any(session.state is SessionState.OPEN for session, _ in self._sessions)

    # ---- in the I/O thread

    def _main(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._run())
        except BaseException as error:
            logger.critical("the worker's I/O thread broke down: this is a fault of the SDK", exc_info=error)
            self._error = f"the I/O thread broke down: {type(error).__name__}"
        finally:
            self._on_end(self._error)

    async def _run(self) -> None:
        self._links = {session.sec: Link(session, dial, self.apply) for session, dial in self._sessions}
        try:
            async with asyncio.TaskGroup() as group:
                for link in self._links.values():
                    group.create_task(link.run(), name="sagaline-link")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._leave_executor()

    def _leave_executor(self) -> None:
        assert self._executor is not None
        for attempt in self._holdings.left_running():
            logger.error(
                "left behind: attempt %d of node %s of saga %s still runs; its outcome will count as unknown",
                attempt.ref.attempt, attempt.ref.node, attempt.ref.saga_id,
            )  # fmt: skip
        unacked = len(self._holdings.results)
        if unacked:
            logger.error("left behind: %d results that no SEC has acknowledged", unacked)
        self._executor.close(0.0 if self._holdings.given_up else limits.CANCEL_GRACE_SECONDS)

    def _drain(self, timeout: float) -> None:
        now = self._loop.time()
        self._holdings.drain(now, timeout)
        self._tick_sessions(now, 0.0)

    def _empty_inbox(self) -> None:
        now, holdings = self._loop.time(), self._holdings
        progress, ends = self.inbox.take()
        for ref, details in progress.items():
            holdings.report_progress(ref, details, now)
        assert self._executor is not None
        for ref, outcome in ends:
            self._executor.ended(ref)
            if outcome is None:
                holdings.not_started(ref, pb.REJECTION_REASON_NO_CAPACITY, now)
            else:
                holdings.finished(ref, outcome, now)
        self.apply(holdings.effects.take())

    def apply(self, effects: list[Effect]) -> None:
        """Do what the machine asks; then let every writer look, and the clock be set."""
        assert self._executor is not None
        for effect in effects:
            match effect:
                case Start():
                    self._executor.start(effect.attempts)
                case Stop():
                    self._executor.stop(effect.ref, effect.reason)
                case Forget():
                    logger.debug("%d results acknowledged", len(effect.refs))
                case Welcomed():
                    self._on_welcome(effect)
                case EndStream() | Reconnect():
                    self._links[effect.sec].handle(effect)
                case Closed():
                    self._error = self._error or effect.error
                    self._links[effect.sec].handle(effect)
                case Note():
                    facts = " ".join(f"{name}={value}" for name, value in effect.facts.items())
                    logger.log(effect.level, "%s: %s", effect.event, facts)
        for link in self._links.values():
            link.poke()
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer for all. It may be set too early, which costs a look, and is never set too late."""
        at = self._holdings.next_deadline()
        for session, _ in self._sessions:
            other = session.next_deadline()
            at = other if at is None or (other is not None and other < at) else at
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer, at)

    def _on_timer(self, at: float) -> None:
        self._timer = None
        now = self._loop.time()
        self._holdings.tick(now)
        self._tick_sessions(now, max(0.0, now - at))

    def _tick_sessions(self, now: float, lag: float) -> None:
        for session, _ in self._sessions:
            self.apply(session.tick(now, lag))
