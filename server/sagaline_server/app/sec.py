"""One SEC: its parts put together, started, looked after and stopped.

Start: open the store, recover what it holds, then serve, so that no worker is
told that its attempt is unknown only because its saga has not been read yet.
When the store says that this incarnation is dead, all sagas are dropped and
everything begins again as a new incarnation. Stop: tell the workers, flush
what is being written, close the store; what is unfinished stays for whoever
adopts it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import grpc
import structlog
from prometheus_client import CollectorRegistry, start_http_server

from sagaline.v1 import worker_service_pb2, worker_service_pb2_grpc
from sagaline_server import __version__
from sagaline_server.api.health import Health
from sagaline_server.api.registration import add_services, interceptors
from sagaline_server.app.settings import Settings
from sagaline_server.app.stores import make_store
from sagaline_server.app.system import SystemClock, SystemRandom
from sagaline_server.app.transport import bind, make_server
from sagaline_server.dispatch.dispatcher import Dispatcher
from sagaline_server.dispatch.worker_service import SecFacts, StreamTimes, WorkerService
from sagaline_server.ports.store import SecNameTaken, StoreError
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.metrics import RuntimeMetrics
from sagaline_server.runtime.recovery import Folder, Recovery
from sagaline_server.runtime.runtime import Runtime
from sagaline_server.runtime.strays import Strays

log = structlog.get_logger("sagaline.sec")

WORKER_SERVICE = "sagaline.v1.WorkerService"
TICK_SECONDS = 1.0
OPEN_RETRY_SECONDS = 1.0


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
        self._dispatcher = Dispatcher(clock, random.draw, settings.grace_timeout)
        self._metrics = RuntimeMetrics(self.registry)
        self._engine = SagaEngine(
            self._store, self._dispatcher, clock, random.draw, random.writer_id, settings.sec_id, self._metrics
        )
        folder = Folder()
        self._recovery = Recovery(self._engine, folder)
        self._strays = Strays(self._engine)
        self.runtime = Runtime(self._engine, folder)
        self._workers = WorkerService(
            self._dispatcher,
            clock,
            SecFacts(settings.sec_id, 0, ""),
            StreamTimes(settings.heartbeat_interval, settings.heartbeat_timeout),
            self._members,
        )
        self._random = random
        self._health: Health | None = None
        self._stopping = asyncio.Event()

    def _members(self) -> worker_service_pb2.SecSet:
        facts = self._workers.facts
        me = worker_service_pb2.Sec(sec_id=facts.sec_id, address=facts.address, draining=self._workers.leaving)
        return worker_service_pb2.SecSet(revision=facts.incarnation, secs=[me])

    def stop(self) -> None:
        """Ask the SEC to stop."""
        self._stopping.set()

    async def run(self) -> None:
        """Serve until `stop` is called.

        Raises:
            SecNameTaken: Another process holds the store.
            OSError: The address can't be served on.
        """
        server = make_server(interceptors(self.registry, self._clock, self._random.entropy))
        self._health = await add_services(
            server,
            self.runtime,
            self._clock,
            self._random.entropy,
            [WORKER_SERVICE],
            reflection=self.settings.reflection,
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
        try:
            await self._open_and_recover()
            await server.start()
            log.info("server_ready", address=self.address, store=self.settings.store, sec=self.settings.sec_id)
            tasks.append(asyncio.create_task(self._live_on(), name="incarnations"))
            tasks.append(asyncio.create_task(self._wait_for_stop(), name="stop"))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
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
                self._workers.facts = SecFacts(self.settings.sec_id, incarnation, self.address)
                await self._recovery.run()
            except SecNameTaken:
                raise
            except StoreError as error:
                log.warning("store_away", error=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), OPEN_RETRY_SECONDS)
            else:
                await self._set_serving(serving=True)
                return

    async def _live_on(self) -> None:
        """Begin a new incarnation whenever the present one has died."""
        while True:
            await self._engine.incarnation_lost.wait()
            log.error("incarnation_lost", incarnation=self._store.incarnation)
            await self._set_serving(serving=False)
            self._engine.forget_all()
            self.runtime.creations.forget_all()
            await self._open_and_recover()

    async def _set_serving(self, *, serving: bool) -> None:
        self._engine.is_serving = serving
        if self._health is not None:
            await self._health.set_serving(serving=serving)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            self._engine.send_held()
            self._measure()

    def _serve_metrics(self) -> Callable[[], None]:
        """Serve the metrics if asked to; returns what ends that."""
        if not self.settings.metrics_listen:
            return lambda: None
        host, _, port = self.settings.metrics_listen.rpartition(":")
        server, thread = start_http_server(int(port), host, self.registry)

        def end() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return end

    def _measure(self) -> None:
        metrics = self._metrics
        sagas = self._engine.sagas
        metrics.live = len(sagas)
        metrics.waiting = self._dispatcher.waiting_count()
        metrics.workers = sum(1 for _ in self._dispatcher.attached_sessions())
        metrics.need_operator = len(self._engine.need_operator) + len(self._engine.quarantined)
        until = self._store.serving_until
        metrics.lease_margin = 0.0 if until is None else until - self._clock.boottime()

    async def _shut_down(self, server: grpc.aio.Server) -> None:
        was_serving = self._engine.is_serving
        await self._set_serving(serving=False)
        await self._workers.leave()
        if was_serving and not await self._engine.commit.flush(self.settings.shutdown_timeout):
            log.warning("writes_left", writes=self._engine.commit.depth)
        await server.stop(grace=1.0)
