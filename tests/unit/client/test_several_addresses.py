"""Both faces of the client with several addresses: what one SEC does not answer, another does."""

from __future__ import annotations

import asyncio
import inspect
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from sagaline import errors, sync
from sagaline.client import Client
from sagaline.v1 import saga_service_pb2
from tests.unit.client.fake_sagas import Breaks, FakeSagas, serve
from tests.unit.client.samples import TRIP, Trip, trip
from tests.unit.client.serving import SAGA_SERVICE, handlers

GONE = grpc.StatusCode.UNAVAILABLE
SERVING, NOT_SERVING = b"\x08\x01", b"\x08\x02"

Use = Callable[[Any], Any]


async def used(face: str, addresses: list[str], use: Use, **options: Any) -> Any:
    """Return what `use` makes of a client of this face."""
    if face == "aio":
        async with Client(addresses, **options) as client:
            given = use(client)
            return [item async for item in given] if inspect.isasyncgen(given) else await given

    def call() -> Any:
        with sync.Client(addresses, **options) as client:
            given = use(client)
            return list(given) if inspect.isgenerator(given) else given

    return await asyncio.to_thread(call)


@pytest.fixture(params=["aio", "sync"])
def face(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def secs() -> AsyncIterator[tuple[FakeSagas, FakeSagas, list[str]]]:
    """Two SECs that share their sagas, and their addresses."""
    first = FakeSagas(log_length=21)
    second = FakeSagas(log_length=21, created=first.created)
    (one, here), (two, there) = await serve(first), await serve(second)
    yield first, second, [here, there]
    await one.stop(0)
    await two.stop(0)


def nobody() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{unused.getsockname()[1]}"


async def test_one_that_is_gone_is_passed_over(face: str, secs: tuple[FakeSagas, FakeSagas, list[str]]) -> None:
    _, second, addresses = secs
    ways = [nobody(), addresses[1]]
    assert (await used(face, ways, lambda client: client.create_new(trip("1")), patience_s=10.0)).existed is False
    assert len(second.requests) == 1


async def test_a_creation_whose_answer_was_lost_is_made_elsewhere(
    face: str, secs: tuple[FakeSagas, FakeSagas, list[str]]
) -> None:
    first, second, addresses = secs
    first.unary_failures = deque([GONE])
    created = await used(face, addresses, lambda client: client.create(TRIP, Trip("Oslo")))
    assert created.existed
    assert [len(first.requests), len(second.requests)] == [1, 1]


async def test_a_silent_sec_does_not_use_up_the_time(face: str, secs: tuple[FakeSagas, FakeSagas, list[str]]) -> None:
    first, _, addresses = secs
    first.never_answers = True
    created = await used(face, addresses, lambda client: client.create(TRIP, Trip("Oslo")), timeout_s=4.0)
    assert created.existed


@pytest.mark.parametrize("code", [GONE, grpc.StatusCode.INTERNAL, None])
async def test_a_watch_goes_on_at_another(
    face: str, secs: tuple[FakeSagas, FakeSagas, list[str]], code: grpc.StatusCode | None
) -> None:
    first, second, addresses = secs
    first.breaks, second.breaks = deque([Breaks(2, code), Breaks(1, code)]), deque([Breaks(3, code)])
    entries = await used(face, addresses, lambda client: client.watch("1"))
    assert [entry.seq for entry in entries] == list(range(1, 22))
    assert [len(first.requests), len(second.requests)] == [2, 2]


async def test_a_run_goes_on_at_another(face: str, secs: tuple[FakeSagas, FakeSagas, list[str]]) -> None:
    first, second, addresses = secs
    first.breaks, second.breaks = deque([Breaks(1), Breaks(0)]), deque([Breaks(2)])
    news = [trip(str(number)) for number in range(40)]
    ended = await used(face, addresses, lambda client: client.run_many(news, window=8))
    assert sorted(int(end.new.saga_id) for end in ended) == list(range(40))


class Stepping:
    """Takes steps and tells its health, as a SEC that leaves does; its answers can get lost."""

    def __init__(self, health: bytes | None = SERVING, *, loses: bool = False) -> None:
        self.health, self.loses, self.steps = health, loses, 0

    async def StepSaga(self, request: Any, context: Any) -> saga_service_pb2.StepSagaResponse:
        self.steps += 1
        if self.loses:
            await context.abort(GONE, "lost")
        return saga_service_pb2.StepSagaResponse()

    async def check(self, _request: bytes, context: Any) -> bytes:
        if self.health is None:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")
            raise AssertionError("abort raises")
        return self.health


@asynccontextmanager
async def serving(stepping: Stepping) -> AsyncIterator[str]:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    check: Any = grpc.unary_unary_rpc_method_handler(stepping.check)
    health = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": check})
    server.add_generic_rpc_handlers((handlers(SAGA_SERVICE, stepping), health))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield f"127.0.0.1:{port}"
    await server.stop(0)


@pytest.mark.parametrize("health", [SERVING, None])
async def test_what_must_not_be_sent_twice_is_sent_to_one_that_serves(face: str, health: bytes | None) -> None:
    leaves, stays = Stepping(NOT_SERVING), Stepping(health)
    async with serving(leaves) as here, serving(stays) as there:
        await used(face, [nobody(), here, there], lambda client: client.step("t"))
    assert (leaves.steps, stays.steps) == (0, 1)


async def test_what_must_not_be_sent_twice_is_not(face: str) -> None:
    first, second = Stepping(loses=True), Stepping()
    async with serving(first) as here, serving(second) as there:
        with pytest.raises(errors.Unavailable):
            await used(face, [here, there], lambda client: client.step("t"))
    assert (first.steps, second.steps) == (1, 0)


async def test_patience_ends_where_none_serves(face: str) -> None:
    for use in (lambda client: client.step("t"), lambda client: client.get("t")):
        with pytest.raises(errors.Unavailable):
            await used(face, [nobody(), nobody()], use, patience_s=0.5)
