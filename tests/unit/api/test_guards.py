"""The guard: exceptions never leak, calls have deadlines, and faults can be found in the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
import pytest
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sagaline.v1 import admin_service_pb2 as admin
from sagaline.v1 import saga_service_pb2 as pb
from sagaline_server.api.errors import Refused
from sagaline_server.api.guards import DEADLINES, Guard
from sagaline_server.core import limits
from tests.unit.api.conftest import Served, counting_bytes
from tests.unit.api.refusals import Told, refused
from tests.unit.api.specs import trip
from tests.unit.api.test_bad_inputs import WITH_ID, call, filled
from tests.unit.api.waiting import until

SECRET = "hunter2 in /etc/passwd"

LEAKY = {name: filled(name) for name in WITH_ID} | {
    "CreateSaga": pb.CreateSagaRequest(saga=trip("s1")),
    "CreateSagas": pb.CreateSagasRequest(sagas=[trip("s1")]),
    "RunSaga": pb.RunSagaRequest(saga=trip("s1")),
    "ListSagas": pb.ListSagasRequest(),
    "ListWorkers": admin.ListWorkersRequest(),
    "ListSecs": admin.ListSecsRequest(),
    "DrainSec": admin.DrainSecRequest(),
}


@pytest.mark.parametrize("name", LEAKY)
@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, TimeoutError, asyncio.CancelledError])
async def test_the_text_of_an_exception_stays_here(served: Served, name: str, kind: type[BaseException]) -> None:
    served.runtime.trouble = kind(SECRET)
    with structlog.testing.capture_logs() as logs:
        told = await refused(call(served, name, LEAKY[name]))
    assert (told.code, told.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "hunter2" not in repr(told)
    (entry,) = logs
    assert entry["event"] == "call_failed"
    assert entry["method"].endswith(f"/{name}")
    assert entry["correlation_id"] == told.metadata["correlation_id"]
    assert entry["exc_info"] is served.runtime.trouble


async def test_a_call_without_a_deadline_gets_one(served: Served) -> None:
    """The server of these tests gives unary calls one second."""
    served.runtime.hangs = True
    told = await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1")))
    assert (told.code, told.reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "SERVER_DEADLINE")
    assert told.metadata == {"seconds": "1"}


async def test_a_long_wait_is_not_cut_short_by_that_deadline(served: Served) -> None:
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    request = pb.WaitSagaRequest(saga_id="s1")
    request.timeout.FromMilliseconds(1200)
    response = await served.sagas.WaitSaga(request)
    assert response.saga.saga_id == "s1"


async def test_a_call_with_a_deadline_keeps_its_own(served: Served) -> None:
    served.runtime.hangs = True
    told = await refused(served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"), timeout=0.05))
    assert told.code is grpc.StatusCode.DEADLINE_EXCEEDED
    assert not told.reason, "it is the client's own"


async def test_a_sec_that_leaves_sends_every_client_to_another(served: Served) -> None:
    """Whatever the call is doing: otherwise chance decides whether the client hears that it was cancelled."""
    await served.sagas.CreateSaga(pb.CreateSagaRequest(saga=trip("s1")))
    waiting = served.sagas.WaitSaga(pb.WaitSagaRequest(saga_id="s1"))
    running = served.sagas.RunSaga(pb.RunSagaRequest(saga=trip("s1")))
    watch = served.sagas.WatchSaga(pb.WatchSagaRequest(saga_id="s1"))
    await watch.read()
    stream = served.sagas.RunSagas()
    await stream.write(pb.RunSagasRequest(sagas=[trip("s2")]))
    await stream.read()
    await until(lambda: len(served.runtime.waits) == 2)
    served.calls.leave()
    late = served.sagas.GetSaga(pb.GetSagaRequest(saga_id="s1"))
    under_way: list[Awaitable[object]] = [waiting, running, watch.read(), stream.read(), late]
    for each in under_way:
        told = await refused(each)
        assert (told.code, told.reason) == (grpc.StatusCode.UNAVAILABLE, "NOT_SERVING")
    health = health_pb2_grpc.HealthStub(served.channel)
    await health.Check(health_pb2.HealthCheckRequest())


# ---- handlers of every kind


class Handlers(grpc.GenericRpcHandler):
    """Methods that fail in every way that a method can."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        kinds: dict[str, tuple[Any, Any]] = {
            "/t/answers": (grpc.unary_unary_rpc_method_handler, self.answer),
            "/t/streams": (grpc.unary_stream_rpc_method_handler, self.stream),
            "/t/writes": (grpc.unary_stream_rpc_method_handler, self.write),
            "/t/collects": (grpc.stream_unary_rpc_method_handler, self.collect),
            "/t/talks": (grpc.stream_stream_rpc_method_handler, self.talk),
            "/t/aborts": (grpc.unary_unary_rpc_method_handler, self.abort),
            "/t/refuses": (grpc.stream_stream_rpc_method_handler, self.refuse),
        }
        make, behaviour = kinds[handler_call_details.method]
        return make(behaviour)

    async def answer(self, request: bytes, context: object) -> bytes:
        raise ValueError(SECRET)

    async def stream(self, request: bytes, context: object) -> AsyncIterator[bytes]:
        yield b"first"
        raise ValueError(SECRET)

    async def write(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.write(b"first")
        raise ValueError(SECRET)

    async def collect(self, requests: AsyncIterator[bytes], context: object) -> bytes:
        async for _ in requests:
            raise ValueError(SECRET)
        return b""

    async def talk(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            raise ValueError(SECRET)

    async def abort(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        await context.abort(grpc.StatusCode.ABORTED, "on purpose")

    async def refuse(self, requests: AsyncIterator[bytes], context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request
            raise Refused("OVERLOADED", retry_delay=0.25)


@pytest.fixture
async def channel() -> AsyncIterator[Any]:
    server = grpc.aio.server(interceptors=[Guard(counting_bytes())], options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(None)


async def last_word(stream: Any) -> Told:
    """Read a stream up to its error."""

    async def read_all() -> None:
        while await stream.read() is not grpc.aio.EOF:
            pass

    return await refused(read_all())


async def test_whatever_the_kind_of_the_handler_nothing_leaks(channel: Any) -> None:
    with structlog.testing.capture_logs() as logs:
        tolds = [
            await refused(channel.unary_unary("/t/answers")(b"x")),
            await last_word(channel.unary_stream("/t/streams")(b"x")),
            await last_word(channel.unary_stream("/t/writes")(b"x")),
            await refused(channel.stream_unary("/t/collects")(iter([b"x"]))),
            await last_word(channel.stream_stream("/t/talks")(iter([b"x"]))),
        ]
    assert {(told.code, told.reason) for told in tolds} == {(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")}
    assert "hunter2" not in repr(tolds)
    assert len({told.metadata["correlation_id"] for told in tolds}) == len(logs) == 5


async def test_what_a_handler_tells_on_purpose_passes(channel: Any) -> None:
    told = await refused(channel.unary_unary("/t/aborts")(b"x"))
    assert (told.code, told.message) == (grpc.StatusCode.ABORTED, "on purpose")
    told = await last_word(channel.stream_stream("/t/refuses")(iter([b"x"])))
    assert (told.code, told.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
    assert told.details["RetryInfo"].retry_delay.nanos == 250_000_000


def test_a_wait_may_take_as_long_as_it_may() -> None:
    assert DEADLINES["/sagaline.v1.SagaService/WaitSaga"] > limits.WAIT_SECONDS_MAX
    assert DEADLINES["/sagaline.v1.SagaService/RunSaga"] > limits.WAIT_SECONDS_MAX
