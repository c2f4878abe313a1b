"""One life of a SEC process: `app.Sec` itself, with the simulation where the operating system, gRPC and etcd are.

`app.sec` asks for a store, a clock, randomness and a server by name; in a
simulation these names give what belongs to the process that is running.
Clients seldom go through the api: they call the runtime, as the api does.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import grpc
import msgspec

from sagaline.v1 import admin_service_pb2, saga_pb2, saga_service_pb2
from sagaline_server.api.creation import CreationMaker
from sagaline_server.api.errors import Refused
from sagaline_server.api.handlers import Context
from sagaline_server.api.health import Health
from sagaline_server.api.selecting import control_sagas
from sagaline_server.api.waiting import run_saga
from sagaline_server.app import sec as app
from sagaline_server.app.settings import Settings
from sagaline_server.core.entries import SagaState, Stamped
from sagaline_server.core.inputs import Order as Request
from sagaline_server.ownership.cluster_runtime import ClusterRuntime
from sagaline_server.ports.archive import Archive
from sagaline_server.ports.cluster import ClusterStore
from sagaline_server.ports.store import ListQuery
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.requests import CreateFate, RuntimeRefusal
from sagaline_server.store.sharded import ShardedStore
from sagaline_server.wire.breakpoints import is_of_point, point_subject
from sagaline_server.wire.limits import action_limit, is_lifted, scope_limit, subject
from tests.simulation.calls import Aborted, ServerContext, SimChannel, UnaryMethod
from tests.simulation.clocks import SimClock
from tests.simulation.history import History
from tests.simulation.loop import ProcessLoop
from tests.simulation.network import Status
from tests.simulation.processes import Process
from tests.simulation.store import SimStore
from tests.simulation.taps import tap

FOLLOW_SECONDS = 20.0
LOG_PAGE = 7
"""Entries asked for at a time: few, so that a log has several pages."""


class Order(msgspec.Struct, frozen=True):
    """A client's order to a saga."""

    saga_id: str
    given: Request


UnaryInContext = Callable[[Any, ServerContext], Awaitable[Any]]


def in_context(method: UnaryInContext) -> UnaryMethod:
    """Return a servicer's unary method as the simulation calls it."""
    return lambda request: method(request, ServerContext())


class Died(BaseException):
    """The process has ended; what it was doing goes no further."""


class SimRandom:
    """Randomness of one life; has what `SystemRandom` has."""

    def __init__(self, chance: random.Random) -> None:
        """Draw from a stream of randomness."""
        self.draw = chance.random
        self.entropy = chance.randbytes

    def writer_id(self) -> bytes:
        """Return a new writer id."""
        return self.entropy(16)


class SimServer:
    """A server as `app.Sec` uses one: it serves what was added once it has started."""

    def __init__(self, process: Process) -> None:
        """Make the server of a process."""
        self._process = process
        self._methods: dict[str, Any] = {}

    def add_registered_method_handlers(
        self, service: str, handlers: Mapping[str, grpc.RpcMethodHandler[Any, Any]]
    ) -> None:
        """Add a service."""
        for name, handler in handlers.items():
            self._methods[name] = (
                handler.stream_stream
                if handler.request_streaming
                else in_context(cast("UnaryInContext", handler.unary_unary))
            )

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Nothing: every service is added by its methods too."""

    async def start(self) -> None:
        """Listen."""
        self._process.methods.update(self._methods)

    async def stop(self, grace: float) -> None:
        """Listen no longer."""
        self._process.methods.clear()


class SimSec:
    """One life of a SEC."""

    def __init__(
        self,
        process: Process,
        stores: Sequence[SimStore],
        history: History,
        chance: random.Random,
        on_die: Callable[[], None],
        changes: Mapping[str, Any],
        archive: Archive | None,
        dial: Callable[[Process, str], SimChannel],
    ) -> None:
        """Prepare a life; `main` lives it.

        Args:
            process: Where.
            stores: Each etcd cluster as it sees it.
            history: What is told of what it does.
            chance: Its randomness.
            on_die: Called when it has died by its own hand, as an injected fault has it.
            changes: Settings that are not the usual ones.
            archive: Where finished sagas go.
            dial: Opens a channel from a process to an address.
        """
        self.process = process
        self.stores = stores
        self.store: ClusterStore = stores[0] if len(stores) == 1 else ShardedStore(stores, process.host.clock)
        self.name = process.host.name
        self.random = SimRandom(chance)
        self.sec: app.Sec | None = None
        self._history = history
        self._on_die = on_die
        self._changes = changes
        self.archive = archive
        self._dial = dial
        self._maker = CreationMaker(process.host.clock, chance.randbytes)
        process.loop.around = self

    async def main(self) -> None:
        """Serve until drained or killed."""
        settings = Settings(sec_id=self.name, advertise=f"{self.name}:7070", store="etcd", reflection=False)
        settings = msgspec.structs.replace(settings, **self._changes)
        self.sec = app.Sec(settings)
        self.sec._engine.die = self._die
        tap(self.sec, self.process, self._history)
        self._serve_clients()
        await self.sec.run()
        self._history.note(self.process.name, "has stopped")
        self.process.kill()

    def _die(self) -> None:
        """End in the middle of what is being done, as a loss of power does: nothing after this call happens."""
        self._history.note(self.process.name, "dies as an injected fault has it")
        self.process.kill()
        self._on_die()
        raise Died

    def drain(self) -> None:
        """Ask it to hand everything off and stop, as SIGTERM does."""
        if self.process.alive and self.sec is not None:
            self.process.loop.call_soon(self.sec.stop)

    @property
    def engine(self) -> SagaEngine | None:
        """What runs the sagas, once it is there."""
        return None if self.sec is None else self.sec._engine

    def knows(self, secs: Iterable[str], limits: Mapping[str, admin_service_pb2.Limit]) -> bool:
        """True unless it lives and believes in other SECs or limits than there are."""
        if self.sec is None or not self.process.alive:
            return True
        table = self.sec._keeper.conditions
        actions = {limit.action: action_limit(limit) for limit in limits.values() if limit.HasField("action")}
        scopes = {limit.scope: scope_limit(limit) for limit in limits.values() if limit.HasField("scope")}
        return {self.name, *self.sec._membership.secs} == {*secs} and (table._actions, table._scopes) == (
            actions,
            scopes,
        )

    # ---- what it serves to clients

    def _serve_clients(self) -> None:
        self.process.methods.update(
            Create=self._create,
            Run=self._run,
            Get=self._get,
            Order=self._order,
            HandOff=self._hand_off,
            SetLimit=self._set_limit,
            ListLimits=self._list_limits,
            SetPoint=self._set_point,
            ClearPoint=self._clear_point,
            ListPoints=self._list_points,
            Batch=self._batch,
            Explain=self._explain,
            ExplainSaga=self._explain_to_another,
            Wait=self._wait,
            Follow=self._follow,
            ReadLog=self._read_log,
            Watch=self._watch,
            Unfinished=self._unfinished,
        )

    @property
    def _runtime(self) -> ClusterRuntime:
        assert self.sec is not None
        return self.sec.runtime

    async def _create(self, spec: saga_pb2.SagaSpec) -> tuple[CreateFate, bytes]:
        asked = saga_pb2.SagaSpec()
        asked.CopyFrom(spec)
        creation = self._maker.make(asked, self._maker.moment())
        (fate,) = await self._runtime.create([creation])
        if isinstance(fate, RuntimeRefusal):
            raise refused(fate)
        return fate, creation.digest

    async def _run(self, spec: saga_pb2.SagaSpec) -> tuple[CreateFate, bytes, saga_pb2.Saga]:
        """Create and wait in one call, by the method of the api itself."""
        request = saga_service_pb2.RunSagaRequest(saga=spec, or_needs_operator=True)
        request.timeout.FromSeconds(round(FOLLOW_SECONDS))
        asked = saga_pb2.SagaSpec()
        asked.CopyFrom(spec)
        digest = self._maker.make(asked, self._maker.moment()).digest
        try:
            with refusals():
                answer = await run_saga(self._runtime, self._maker, request, cast("Context", ServerContext()))
        except Refused as refused:
            raise Aborted(Status(refused.reason, refused.message)) from None
        return CreateFate.EXISTED if answer.existed else CreateFate.CREATED, digest, answer.saga

    async def _get(self, saga_id: str) -> saga_pb2.Saga:
        with refusals():
            return await self._runtime.get(saga_id, full=True)

    async def _order(self, order: Order) -> saga_pb2.Saga:
        with refusals():
            return await self._runtime.request(order.saga_id, order.given)

    async def _hand_off(self, asked: tuple[str, str]) -> None:
        with refusals():
            await self._runtime.hand_off(*asked)

    async def _set_limit(self, limit: admin_service_pb2.Limit) -> None:
        with refusals():
            await self._runtime.set_condition(subject(limit), b"" if is_lifted(limit) else limit.SerializeToString())

    async def _list_limits(self, _: str) -> list[admin_service_pb2.Limit]:
        with refusals():
            stored = await self._runtime.conditions()
        return [admin_service_pb2.Limit.FromString(one.value) for one in stored if not is_of_point(one.subject)]

    async def _set_point(self, point: admin_service_pb2.ActionBreakpoint) -> None:
        with refusals():
            await self._runtime.set_condition(point_subject(point.action), point.SerializeToString())

    async def _clear_point(self, action: str) -> None:
        with refusals():
            await self._runtime.set_condition(point_subject(action), b"")

    async def _list_points(self, _: str) -> list[str]:
        with refusals():
            stored = await self._runtime.conditions()
        points = [
            admin_service_pb2.ActionBreakpoint.FromString(one.value) for one in stored if is_of_point(one.subject)
        ]
        return [point.action for point in points]

    async def _batch(
        self, asked: saga_service_pb2.BatchControlSagasRequest
    ) -> saga_service_pb2.BatchControlSagasResponse:
        with refusals():
            return await control_sagas(self._runtime, asked, self.process.host.clock.wall())

    async def _explain(self, saga_id: str) -> admin_service_pb2.ExplainSagaResponse:
        with refusals():
            return await self._runtime.explain(saga_id)

    async def _explain_to_another(
        self, asked: admin_service_pb2.ExplainSagaRequest
    ) -> admin_service_pb2.ExplainSagaResponse:
        try:
            return await self._runtime.explain(asked.saga_id)
        except RuntimeRefusal as refusal:
            raise Aborted(Status("UNAVAILABLE", refusal.code)) from None

    def open_channel(self, address: str) -> SimChannel:
        """Open a channel to another SEC."""
        return self._dial(self.process, address)

    async def _wait(self, saga_id: str) -> saga_pb2.Saga:
        with refusals():
            return await self._runtime.wait(saga_id, timeout=20.0, or_needs_operator=True)

    async def _follow(self, saga_id: str) -> saga_service_pb2.SagaEnd:
        """Wait for a saga as a stream of runs does: the end is told once, or why it can't be told."""
        end: asyncio.Future[saga_service_pb2.SagaEnd] = asyncio.get_running_loop().create_future()
        stop = await self._runtime.follow([saga_id], end.set_result, or_needs_operator=True)
        try:
            async with asyncio.timeout(FOLLOW_SECONDS):
                return await end
        except TimeoutError:
            raise Aborted(Status("DEADLINE_EXCEEDED")) from None
        finally:
            stop()

    async def _read_log(self, saga_id: str) -> list[Stamped]:
        entries: list[Stamped] = []
        following = 1
        with refusals():
            while following:
                page, following = await self._runtime.read_log(saga_id, following, LOG_PAGE)
                entries += page
        return entries

    async def _watch(
        self, requests: AsyncIterator[Any], context: ServerContext
    ) -> AsyncIterator[tuple[list[Stamped], SagaState]]:
        saga_id, from_seq = await anext(requests)
        try:
            async for entries, state in self._runtime.watch(saga_id, from_seq):
                yield entries, state
        except RuntimeRefusal as refusal:
            raise Aborted(Status("UNAVAILABLE", refusal.code)) from None

    async def _unfinished(self, after: str) -> Sequence[saga_pb2.Saga]:
        with refusals():
            return await self._runtime.list_page(ListQuery(after, 100, unfinished=True), full=True)


async def pause(seconds: float) -> None:
    """Let virtual time pass."""
    over = asyncio.Event()
    asyncio.get_running_loop().call_later(seconds, over.set)
    await over.wait()


def refused(refusal: RuntimeRefusal) -> Aborted:
    """Return what a client hears of a refusal."""
    return Aborted(Status(refusal.code, str(refusal)))


@contextmanager
def refusals() -> Iterator[None]:
    """Tell the client of a refusal within the block."""
    try:
        yield
    except RuntimeRefusal as refusal:
        raise refused(refusal) from None


# ---- in place of what `app.sec` imports ----------------------------------------------------


def _here() -> SimSec:
    """Return the SEC whose process is running."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ProcessLoop)
    assert isinstance(loop.around, SimSec)
    return loop.around


def _clock() -> SimClock:
    return _here().process.host.clock


def _random() -> SimRandom:
    return _here().random


def _make_store(settings: Settings, clock: object) -> ClusterStore:
    return _here().store


def _make_archive(settings: Settings) -> Archive | None:
    return _here().archive


def _open_channel(*given: Any) -> SimChannel:
    return _here().open_channel(given[-1])  # the address; how the real one is guarded comes before it


def _make_server(interceptors: object) -> SimServer:
    return SimServer(_here().process)


def _no_interceptors(*_: object, **__: object) -> Sequence[grpc.aio.ServerInterceptor]:
    return []


def _bind(server: object, settings: Settings) -> str:
    return settings.advertise


async def _add_services(*_: object, **__: object) -> Health:
    return Health([])


REPLACED: Mapping[str, Callable[..., Any]] = {
    "SystemClock": _clock,
    "SystemRandom": _random,
    "make_store": _make_store,
    "make_archive": _make_archive,
    "make_server": _make_server,
    "open_channel": _open_channel,
    "interceptors": _no_interceptors,
    "bind": _bind,
    "add_services": _add_services,
}


@contextmanager
def simulated_app() -> Iterator[None]:
    """Let `app.Sec` find the simulation around it."""
    before = {name: getattr(app, name) for name in REPLACED}
    vars(app).update(REPLACED)
    try:
        yield
    finally:
        vars(app).update(before)
