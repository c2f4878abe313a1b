"""The worker as users see it: one process that runs actions for SECs."""

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import random
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import grpc
from grpc import aio

from sagaline.actions import Action
from sagaline.addresses import split_addresses
from sagaline.errors import DefinitionError, WorkerError
from sagaline.ids import new_uuid7
from sagaline.latch import Latch
from sagaline.v1 import worker_service_pb2 as pb
from sagaline.worker import limits
from sagaline.worker.effects import Welcomed
from sagaline.worker.engine import Engine
from sagaline.worker.executor import Executor
from sagaline.worker.fleet import Fleet
from sagaline.worker.holdings import Holdings
from sagaline.worker.served import Catalog
from sagaline.worker.stream import CHANNEL_OPTIONS

logger = logging.getLogger("sagaline.worker")

PORT_MAX = 65_535
DRAIN_TIMEOUT = timedelta(seconds=25)
"""Below the 30 seconds that most process managers give between SIGTERM and SIGKILL."""


class Worker:
    """Serves actions to SECs: connects to each, runs what it is sent, and reconnects for ever.

    ```python
    worker = Worker("localhost:7070", actions=[charge, reserve], slots=50)
    worker.run_forever()
    ```

    One address is enough to begin with: the SEC there tells where the others are, and the worker connects to each of
    them at the address that it advertises. The slots are split among them by the work that waits.

    Async actions run on the event loop of `run`, synchronous ones in threads. The connection has a thread of its
    own, so that actions which block their loop delay each other but not heartbeats.

    Args:
        address: "host:port" of a SEC, or of a load balancer before them. Several, as a list or with commas between
            them, are tried one after another.
        actions: What it serves; a name may come in several versions.
        slots: Attempts that run at the same time: a number, or numbers by slot pool. At most 256 synchronous
            ones run at the same time, whatever the slots.
        drain_timeout: How long `drain` and SIGTERM let running attempts go on before they are cancelled.
        identity: Name for people, at most 256 bytes. Absent: host and process id.
        build_id: Build of your code, for people and rollouts; at most 128 bytes.
        labels: For people; at most 32, keys and values of at most 128 bytes.
        credentials: TLS credentials. None: plain text, for loopback and trusted networks.
        send_stack_traces: Send the stack traces of unexpected exceptions along; they are stored in the log.

    Attributes:
        worker_id: Id of this worker, new for each instance.
        ready: Set when a SEC has welcomed the worker for the first time.

    Raises:
        DefinitionError: An argument is out of its range, or actions do not fit together.
    """

    def __init__(  # noqa: PLR0913 - a worker's configuration, all by keyword
        self,
        address: str | Sequence[str],
        *,
        actions: Iterable[Action[Any, Any]],
        slots: int | Mapping[str, int] = 100,
        drain_timeout: timedelta = DRAIN_TIMEOUT,
        identity: str = "",
        build_id: str = "",
        labels: Mapping[str, str] | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        send_stack_traces: bool = False,
    ) -> None:
        self.worker_id = new_uuid7()
        self.ready = Latch()
        self._addresses = checked_addresses(address)
        self._credentials = credentials
        self._drain_timeout = drain_timeout.total_seconds()
        self._send_stack_traces = send_stack_traces
        self._slots = checked_slots(slots)
        self._catalog = Catalog(actions, self._slots)
        self._refused: dict[str, Mapping[str, str]] = {}
        self._hello = self._make_hello(identity, build_id, labels or {})
        # Reentrant: a signal handler may interrupt this very thread while it holds it, and drain.
        self._lock = threading.RLock()
        self._engine: Engine | None = None
        self._drain_early: float | None = None
        self._signals_seen = 0

    def _make_hello(self, identity: str, build_id: str, labels: Mapping[str, str]) -> pb.Hello:
        hello = pb.Hello(
            protocol_version=limits.PROTOCOL_VERSION,
            worker_id=self.worker_id,
            identity=identity or f"{socket.gethostname()}/{os.getpid()}",
            build_id=build_id,
            sdk=f"sagaline-python/{importlib.metadata.version('sagaline')}",
            labels=labels,
        )
        check_hello(hello)
        if not self._catalog.describe(hello):
            logger.warning("the types of the actions are too large to be sent: graphs are not checked against them")
        return hello

    # ---- running

    async def run(self, *, handle_signals: bool = True) -> None:
        """Run until drained. Once for each worker.

        Cancelling this cancels what runs, gives it 5 seconds to end, reports it, and leaves.

        Args:
            handle_signals: Let SIGTERM and SIGINT drain, and a second one stop at once. Only where this is the
                main thread; else signals are left alone.

        Raises:
            WorkerError: It cannot go on, for example because another process uses its id.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str | None] = loop.create_future()
        engine = self._start(lambda error: _resolve(loop, ended, error))
        with self._signals(wanted=handle_signals):
            try:
                error = await asyncio.shield(ended)
            except asyncio.CancelledError:
                engine.drain(0.0)
                await asyncio.wait({ended}, timeout=limits.CANCEL_GRACE_SECONDS + 2 * limits.HALF_CLOSE_SECONDS)
                raise
        engine.join(limits.HALF_CLOSE_SECONDS)
        if error is not None:
            raise WorkerError(error)

    def run_forever(self, *, handle_signals: bool = True) -> None:
        """As `run`, for programs without an event loop.

        Raises:
            WorkerError: It cannot go on.
        """
        asyncio.run(self.run(handle_signals=handle_signals))

    def drain(self, timeout: timedelta | None = None) -> None:
        """Begin to leave: `run` returns when what runs has ended and is acknowledged. From any thread.

        Nothing new is taken, what has not started is handed back. What still runs after the timeout is cancelled.
        Called again it can only shorten the time.

        Args:
            timeout: Instead of the worker's `drain_timeout`.
        """
        seconds = self._drain_timeout if timeout is None else timeout.total_seconds()
        with self._lock:
            if self._engine is None:
                self._drain_early = seconds if self._drain_early is None else min(seconds, self._drain_early)
                return
        self._engine.drain(seconds)

    # ---- looking

    @property
    def connected(self) -> bool:
        """Whether a session with any SEC is open at this moment: what a readiness probe asks."""
        return self._engine is not None and self._engine.connected

    @property
    def refused_actions(self) -> Mapping[str, str]:
        """Actions that a SEC did not accept at its last welcome, with the reason. They get no work from it."""
        return {action: why for refused in self._refused.copy().values() for action, why in refused.items()}

    # ---- inside

    def _start(self, on_end: Callable[[str | None], None]) -> Engine:
        with self._lock:
            if self._engine is not None:
                raise WorkerError("this worker was run before: make another one")
            holdings = Holdings(self._catalog.pools(), self._slots)
            # Many workers with the same list should not all begin with the same SEC.
            bootstrap = random.sample(self._addresses, len(self._addresses))
            fleet = Fleet(self._hello, holdings, bootstrap)
            engine = self._engine = Engine(fleet, self._dial, self._welcomed, on_end)
            executor = Executor(
                self._catalog.runnables,
                engine.inbox,
                threads_max=min(sum(self._slots.values()), limits.THREADS_MAX),
                stack_traces=self._send_stack_traces,
            )
            engine.start(executor)
            if self._drain_early is not None:
                engine.drain(self._drain_early)
            return engine

    def _dial(self, address: str) -> aio.Channel:
        if self._credentials is None:
            return aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        return aio.secure_channel(address, self._credentials, options=CHANNEL_OPTIONS)

    def _welcomed(self, welcome: Welcomed) -> None:
        logger.info("welcomed by SEC %s at %s as worker %s", welcome.sec_id, welcome.address, self.worker_id)
        for action, reason in welcome.refused.items():
            logger.error("SEC %s refuses action %s: %s. It gets no work here.", welcome.sec_id, action, reason)
        self._refused[welcome.sec_id] = welcome.refused
        self.ready.set()

    @contextmanager
    def _signals(self, *, wanted: bool) -> Iterator[None]:
        """Handlers of the interpreter, not of the loop: they work also while an action blocks the loop."""
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return
        previous = {number: signal.signal(number, self._on_signal) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: object) -> None:
        """The log is written by the I/O thread: here it could be in the middle of a line."""
        self._signals_seen += 1
        again = self._signals_seen > 1
        doing = "stopping now" if again else "draining"
        if self._engine is not None:
            self._engine.post(lambda: logger.warning("%s: %s", signal.Signals(number).name, doing))
        self.drain(timedelta(0) if again else None)


def _resolve(loop: asyncio.AbstractEventLoop, ended: asyncio.Future[str | None], error: str | None) -> None:
    """Tell the user's loop that the engine has ended; called in the I/O thread."""

    def resolve() -> None:
        if not ended.done():
            ended.set_result(error)

    try:
        loop.call_soon_threadsafe(resolve)
    except RuntimeError:
        logger.debug("the worker's event loop was closed before the worker ended")


def check_hello(hello: pb.Hello) -> None:
    """Refuse what every SEC would refuse.

    Raises:
        DefinitionError: A text is too long, or there are too many labels.
    """
    texts = [("identity", hello.identity, limits.IDENTITY_BYTES), ("build_id", hello.build_id, limits.BUILD_ID_BYTES)]
    texts += [("a label", text, limits.LABEL_BYTES) for pair in hello.labels.items() for text in pair]
    for name, text, bytes_max in texts:
        if len(text.encode()) > bytes_max:
            raise DefinitionError(f"{name} of the worker has {len(text.encode())} bytes; at most {bytes_max} are sent")
    if len(hello.labels) > limits.LABELS_MAX:
        raise DefinitionError(f"the worker has {len(hello.labels)} labels; at most {limits.LABELS_MAX} are sent")


def checked_addresses(given: str | Sequence[str]) -> list[str]:
    """The addresses, if they can be some.

    Raises:
        DefinitionError: One can't, or there is none.
    """
    addresses = split_addresses(given)
    for address in addresses or [""]:
        host, _, port = address.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= PORT_MAX:
            raise DefinitionError(f"{address!r} is not the address of a SEC: give host:port")
    return addresses


def checked_slots(slots: int | Mapping[str, int]) -> dict[str, int]:
    """Slots by pool.

    Raises:
        DefinitionError: There are none, or too many.
    """
    by_pool = {"": slots} if isinstance(slots, int) else dict(slots)
    for pool, count in by_pool.items():
        if not 1 <= count <= limits.SLOTS_MAX:
            raise DefinitionError(f"slots of pool {pool!r}: {count}; give 1 to {limits.SLOTS_MAX}")
    if not by_pool:
        raise DefinitionError("a worker needs slots: give a number, or numbers by pool")
    return by_pool
