"""The I/O side of a worker: an event loop in a thread of its own, with the machine, its streams and its clock.

User code runs elsewhere, so that whatever it does to its own loop, heartbeats are sent and frames are read. All of
the machine is touched by this thread alone; others reach it through `post` and the inbox.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress

from grpc import aio

from sagaline.v1.worker_service_pb2_grpc import WorkerServiceStub
from sagaline.worker import limits
from sagaline.worker.effects import Call, Closed, Connect, Effect, EndStream, Forget, Note, Start, Stop, Welcomed
from sagaline.worker.executor import Executor
from sagaline.worker.fleet import Fleet
from sagaline.worker.inbox import Inbox
from sagaline.worker.stream import Link

logger = logging.getLogger("sagaline.worker")


class Engine:
    """Started once; ends by itself when the fleet is closed."""

    def __init__(
        self,
        fleet: Fleet,
        dial: Callable[[str], aio.Channel],
        on_welcome: Callable[[Welcomed], None],
        on_end: Callable[[str | None], None],
    ) -> None:
        """Take what to run, and whom to tell: both are called in the I/O thread.

        Args:
            fleet: The machine.
            dial: Opens a channel to an address.
            on_welcome: A session is open.
            on_end: The engine has ended; with an error where nobody asked for that.
        """
        self.inbox = Inbox(lambda: self.post(self._empty_inbox))
        self._fleet = fleet
        self._holdings = fleet.holdings
        self._dial = dial
        self._on_welcome = on_welcome
        self._on_end = on_end
        self._executor: Executor | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._main, name="sagaline-io", daemon=True)
        self._links: dict[str, Link] = {}
        self._group: asyncio.TaskGroup | None = None
        self._calls: set[asyncio.Task[None]] = set()
        self._finished = asyncio.Event()
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
        return self._fleet.is_connected

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
        try:
            async with asyncio.TaskGroup() as self._group:
                self.apply(self._fleet.start(self._loop.time()))
                await self._finished.wait()
                for call in self._calls:
                    call.cancel()
        finally:
            self._group = None
            if self._timer is not None:
                self._timer.cancel()
            self._leave_executor()
        self._error = self._fleet.error

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
        self.apply(self._fleet.drain(self._loop.time(), timeout))

    def _empty_inbox(self) -> None:
        now, holdings = self._loop.time(), self._holdings
        progress, ends = self.inbox.take()
        for ref, details in progress.items():
            holdings.report_progress(ref, details, now)
        assert self._executor is not None
        for ref, outcome in ends:
            self._executor.ended(ref)
            if outcome is None:
                holdings.not_started(ref, now)
            else:
                holdings.finished(ref, outcome, now)
        self.apply(self._fleet.changed(now))

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
                case Connect():
                    self._link(effect.address).handle(effect)
                case EndStream():
                    self._links[effect.address].handle(effect)
                case Closed():
                    if effect.address in self._links:
                        self._links.pop(effect.address).handle(effect)
                case Call():
                    self._begin_call(effect)
                case Note():
                    facts = " ".join(f"{name}={value}" for name, value in effect.facts.items())
                    logger.log(effect.level, "%s: %s", effect.event, facts)
        for link in self._links.values():
            link.poke()
        if self._fleet.is_closed:
            self._finished.set()
        self._set_timer()

    def _link(self, address: str) -> Link:
        link = self._links.get(address)
        if link is None:
            assert self._group is not None
            session = self._fleet.sessions[address]
            link = self._links[address] = Link(self._fleet, session, lambda: self._dial(address), self.apply)
            self._group.create_task(link.run(), name="sagaline-link")
        return link

    def _begin_call(self, call: Call) -> None:
        assert self._group is not None
        task = self._group.create_task(self._call(call), name="sagaline-call")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    async def _call(self, call: Call) -> None:
        """Tell results to a SEC to which there is no stream."""
        acks = None
        channel = self._dial(call.address)
        try:
            report = WorkerServiceStub(channel).ReportResults
            acks = list((await report(call.request, timeout=limits.CALL_SECONDS)).result_acks)
        except aio.AioRpcError as error:
            logger.info("results were not taken at %s: %s", call.address, error.code().name)
        finally:
            await channel.close()
        self.apply(self._fleet.called(call.address, acks, self._loop.time()))

    def _set_timer(self) -> None:
        """One timer for all. It may be set too early, which costs a look, and is never set too late."""
        at = self._fleet.next_deadline()
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._on_timer, at)

    def _on_timer(self, at: float) -> None:
        self._timer = None
        now = self._loop.time()
        self.apply(self._fleet.tick(now, max(0.0, now - at)))
