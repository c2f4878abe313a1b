"""One SEC: its parts put together, started, looked after and stopped.

Start: answer that nothing is served yet, open the store, recover what it
holds, then serve; so no worker is told that its attempt is unknown only
because its saga has not been read yet.

When the store says that this incarnation is dead, all sagas are dropped and
everything begins again as a new incarnation. When the store itself must not be
believed, because it went back, all sagas are dropped and nothing is served
until an operator has seen to it.

Stop: hand every saga off to another SEC where there is one, tell the workers,
flush what is being written, and close the store; what is left stays for
whoever adopts it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial

import grpc
import structlog
from prometheus_client import CollectorRegistry, start_http_server

from sagaline.v1 import worker_service_pb2_grpc
from sagaline_server import __version__
from sagaline_server.api.guards import UNARY_DEADLINE
from sagaline_server.api.health import Health
from sagaline_server.api.ids import uuid7
from sagaline_server.api.open_calls import OpenCalls
from sagaline_server.api.registration import add_services, interceptors
from sagaline_server.app.access import FileOfAccess, peer_token
from sagaline_server.app.crashing import CrashingWorkerService
from sagaline_server.app.pages import pages
from sagaline_server.app.settings import Settings, SettingsError
from sagaline_server.app.stores import make_archive, make_store
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.app.tracing import make_tracer
from sagaline_server.app.transport import bind, make_server, open_channel
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.worker_service import SecFacts, StreamTimes, WorkerService
from sagaline_server.ownership.cluster_runtime import ClusterRuntime
from sagaline_server.ownership.handoffs import HandOffs
from sagaline_server.ownership.keeper import Keeper
from sagaline_server.ownership.membership import Membership
from sagaline_server.ownership.retention import Retention, RetentionTimes
from sagaline_server.ownership.strays import Strays
from sagaline_server.ports.store import SecNameTaken, StoreError, StoreRolledBack, WrongShards
from sagaline_server.runtime import crashpoints
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery

log = structlog.get_logger("sagaline.sec")

WORKER_SERVICE = "sagaline.v1.WorkerService"
TICK_SECONDS = 1.0
OPEN_RETRY_SECONDS = 1.0
TRACE_SECONDS = 2.0
"""How long the last spans may take when the SEC stops."""
GIVE_WAY_LOOKS = 3
"""How often to look for a younger process that has removed this SEC's key and not yet put its own."""


class Sec:
    """A running SEC."""

    def __init__(self, settings: Settings) -> None:
        """Put the parts together; nothing is started or opened."""
        self.settings = settings
        self.address = settings.advertise
        self.registry = CollectorRegistry()
        clock, random = SystemClock(), SystemRandom()
        self._clock = clock
        self._store = make_store(settings, clock)
        self._calls = OpenCalls()
        self._dispatcher = Dispatcher(clock, random.draw, settings.grace_timeout)
        self._metrics = RuntimeMetrics(self.registry)
        self._engine = SagaEngine(
            self._store, self._dispatcher, clock, random.draw, random.writer_id, settings.sec_id, self._metrics
        )
        folder = Folder()
        recovery = Recovery(self._engine, folder)
        self._membership = Membership(settings.sec_id)
        self._strays = Strays(self._engine, self._store, self._membership)
        self._keeper = Keeper(self._store, self._engine, recovery, self._membership, clock)
        self._hand_offs = HandOffs(self._store, self._engine, self._membership, clock)
        self.runtime = ClusterRuntime(
            self._engine,
            folder,
            self._store,
            self._keeper,
            self._membership,
            self._hand_offs,
            lambda: uuid7(clock.wall(), random.entropy),
            partial(open_channel, settings, peer_token(settings)),
        )
        times = RetentionTimes(settings.compact_after, settings.remove_after, settings.retention_interval)
        self._retention = Retention(self._store, self._membership, clock, times, self._metrics, make_archive(settings))
        self._tracer = make_tracer(settings, self._store, self._metrics)
        if self._tracer is not None:
            self._engine.on_begin = self._tracer.begun
        worker_service = CrashingWorkerService if crashpoints.is_armed else WorkerService
        self._workers = worker_service(
            self._dispatcher,
            clock,
            SecFacts(settings.sec_id, 0, ""),
            StreamTimes(settings.heartbeat_interval, settings.heartbeat_timeout),
            self.runtime.members,
        )
        self._membership.on_change.append(self._workers.push_members)
        self.runtime.on_drain = self.stop
        self._random = random
        self._access = FileOfAccess(settings.access_file) if settings.access_file else None
        self._health: Health | None = None
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask the SEC to stop."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop` is called.

        Raises:
            SecNameTaken: Another process holds the store, or goes by this SEC's name.
            WrongShards: The settings name other etcd clusters than those that the sagas are in.
            SettingsError: An address can't be served on, or a certificate can't be used.
        """
        access = None if self._access is None else self._access.access
        server = make_server(
            interceptors(self.registry, self._clock, self._random.entropy, UNARY_DEADLINE, self._calls, access)
        )
        self._health = await add_services(
            server,
            self.runtime,
            self._clock,
            self._random.entropy,
            [WORKER_SERVICE],
            reflection=self.settings.reflection,
            channelz=self.settings.channelz,
            fault_injection=self.settings.fault_injection,
        )
        worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(self._workers, server)
        served_on = bind(server, self.settings)
        self.address = self.settings.advertise or served_on
        metrics = self._serve_metrics()
        tasks: list[asyncio.Task[None]] = [
            asyncio.create_task(self._engine.commit.run(), name="commit"),
            asyncio.create_task(self._workers.watch(), name="worker watch"),
            asyncio.create_task(self._strays.run(), name="strays"),
            asyncio.create_task(self._tick(), name="tick"),
        ]
        if self._tracer is not None:
            self._tracer.start()
        open_pages = contextlib.AsyncExitStack()
        try:
            await server.start()
            await open_pages.enter_async_context(pages(self.settings, self.runtime, access))
            await self._open_and_recover()
            tasks.append(asyncio.create_task(self._wait_for_stop(), name="stop"))
            if self._engine.is_serving:
                log.info("server_ready", address=self.address, store=self.settings.store, sec=self.settings.sec_id)
                tasks.append(asyncio.create_task(self._live_on(), name="incarnations"))
                tasks.append(asyncio.create_task(self._keeper.run(), name="keeper"))
                tasks.append(asyncio.create_task(self._hand_offs.serve_orders(self._keeper.orders), name="hand-offs"))
                tasks.append(asyncio.create_task(self._keeper.conditions.move_stranded(self._hand_offs), name="limits"))
                if self._retention.is_wanted:
                    tasks.append(asyncio.create_task(self._retention.run(), name="retention"))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await open_pages.aclose()
            await self._shut_down(server)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._store.close()
            metrics()
            log.info("server_stopped")

    async def _wait_for_stop(self) -> None:
        await self._stopping.wait()

    async def _open_and_recover(self) -> None:
        """Become an incarnation and take over what is there; tries for ever while the store is away."""
        while not self._stopping.is_set():
            try:
                incarnation = await self._store.open(
                    sec_id=self.settings.sec_id, address=self.address, version=__version__
                )
                reach("open.registered")
                self._workers.facts = SecFacts(self.settings.sec_id, incarnation, self.address)
                self._engine.is_between_lives = False
                await self._keeper.refresh()
                await self._keeper.sweep()
            except (SecNameTaken, WrongShards):
                raise
            except StoreError as error:
                self._note_store(error)
                # The next try makes another incarnation, and what this one has adopted already is not its own.
                self._engine.forget_all()
                # Not wait_for: Python 3.11's loses a cancellation that comes together with the event.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(OPEN_RETRY_SECONDS):
                        await self._stopping.wait()
            else:
                self._metrics.store_refused = False
                await self._set_serving(serving=True)
                return

    def _note_store(self, error: StoreError) -> None:
        """Say that the store can't be had; that it must not be believed is said once, and loudly."""
        if not isinstance(error, StoreRolledBack):
            log.warning("store_away", error=str(error))
        elif not self._metrics.store_refused:
            self._metrics.store_refused = True
            log.error("store_refused", error=str(error))

    async def _live_on(self) -> None:
        """Begin a new incarnation whenever the present one has died."""
        while True:
            await self._engine.incarnation_lost.wait()
            if await self._is_alive():
                self._engine.incarnation_lost.clear()
                continue
            log.error("incarnation_lost", incarnation=self._store.incarnation)
            await self._set_serving(serving=False)
            self._engine.forget_all()
            self.runtime.creations.forget_all()
            await self._give_way()
            await self._open_and_recover()

    async def _give_way(self) -> None:
        """Leave this SEC's name to a younger process that goes by it: the two would take it from each other for ever.

        Raises:
            SecNameTaken: There is one.
        """
        for _ in range(GIVE_WAY_LOOKS):
            if self.settings.sec_id in self._membership.secs or self._store.serving_until == 0.0:
                break
            # Somebody removed this SEC's key though its lease lives: as a rule to put another one, in a moment.
            await asyncio.sleep(OPEN_RETRY_SECONDS)
            await self._is_alive()
        younger = self._membership.secs.get(self.settings.sec_id)
        if younger is None or younger.incarnation <= self._store.incarnation:
            return
        if younger.address != self.address:
            raise SecNameTaken(
                f"a younger process, at {younger.address}, goes by the name of this SEC, {self.settings.sec_id}, and "
                "has its sagas now: give each SEC a sec_id of its own"
            )
        # A registration of our own whose outcome was unknown, or a process that can't be told from us: gently.
        await asyncio.sleep(OPEN_RETRY_SECONDS)

    async def _is_alive(self) -> bool:
        """Tell whether this incarnation lives: a fence may also mean that one saga has another owner now."""
        try:
            await self._keeper.refresh()
        except StoreRolledBack as error:
            self._note_store(error)
            return False
        except StoreError as error:
            log.warning("store_away", error=str(error))
            await asyncio.sleep(OPEN_RETRY_SECONDS)
            return True
        return self._membership.is_alive(self.settings.sec_id, self._store.incarnation)

    async def _set_serving(self, *, serving: bool) -> None:
        self._engine.is_serving = serving
        if serving:
            self._dispatcher.pump_all()
        if self._health is not None:
            await self._health.set_serving(serving=serving)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._engine.send_held()
            if self._access is not None:
                self._access.refresh()
            self._measure()
            if self._engine.is_serving and self._store.serving_until == 0.0:
                self._engine.incarnation_lost.set()  # the store has said so; no append need find it out
            if self._health is not None:
                # Without its lease a SEC may still own sagas, but it starts nothing: others should be asked.
                await self._health.set_serving(serving=self._engine.is_serving and self._engine.may_send())

    def _serve_metrics(self) -> Callable[[], None]:
        """Serve the metrics if asked to; returns what ends that."""
        if not self.settings.metrics_listen:
            return lambda: None
        host, _, port = self.settings.metrics_listen.rpartition(":")
        try:
            server, thread = start_http_server(int(port), host, self.registry)
        except OSError as error:
            raise SettingsError(f"can't serve metrics on {self.settings.metrics_listen}: {error.strerror}") from error

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def _measure(self) -> None:
        metrics = self._metrics
        sagas = self._engine.sagas
        metrics.live = len(sagas)
        metrics.writes_waiting = self._engine.commit.depth
        metrics.waiting = self._dispatcher.waiting_count()
        metrics.workers = sum(1 for _ in self._dispatcher.attached_sessions())
        metrics.need_operator = len(self._engine.need_operator) + len(self._engine.quarantined)
        deadlines = [part.serving_until for part in self._engine.commit.parts]
        metrics.lease_margin = min(0.0 if until is None else until - self._clock.boottime() for until in deadlines)

    async def _shut_down(self, server: grpc.aio.Server) -> None:
        was_serving = self._engine.is_serving
        if was_serving:
            await self._hand_everything_off()
            await self._hand_offs.close()
        await self._set_serving(serving=False)
        await self._workers.leave()
        if was_serving and not await self._engine.commit.flush(self.settings.shutdown_timeout):
            log.warning("writes_left", writes=self._engine.commit.depth)
        self._calls.leave()
        await self.runtime.close()
        await server.stop(grace=1.0)
        if self._tracer is not None:
            await self._tracer.finish(TRACE_SECONDS)

    async def _hand_everything_off(self) -> None:
        """Give every saga to another SEC, if there is one: then nothing waits for a lease to run out."""
        try:
            async with asyncio.timeout(self.settings.drain_timeout):
                await self._store.register(draining=True)
                reach("drain.announced")
                await self._keeper.refresh()
                left = await self._hand_offs.drain()
                reach("drain.done")
        except (StoreError, TimeoutError) as error:
            log.warning("drain_incomplete", left=len(self._engine.sagas), error=str(error))
        else:
            log.info("drained", left=left)
