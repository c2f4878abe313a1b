"""The asyncio client against a real server in this process, whose streams really break."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Iterator

import grpc
import grpc.aio
import pytest

from sagaline import errors
from sagaline.client import Client, NewSaga
from tests.unit.client.fake_sagas import Breaks, FakeSagas, serve
from tests.unit.client.samples import SUCCEEDED, TRIP, Booking, Trip, trip

GONE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
def sagas() -> FakeSagas:
    return FakeSagas()


@pytest.fixture
async def client(sagas: FakeSagas) -> AsyncIterator[Client]:
    server, address = await serve(sagas)
    async with Client(address, timeout_s=10.0, patience_s=10.0) as client:
        yield client
    await server.stop(0)


async def test_run_returns_the_decoded_result(client: Client, sagas: FakeSagas) -> None:
    assert await client.run(TRIP, Trip("Oslo"), saga_id="12") == Booking(12)
    assert sagas.created["12"].params.json == '{"city":"Oslo","days":1}'


async def test_a_creation_whose_answer_was_lost_is_repeated_with_the_same_id(client: Client, sagas: FakeSagas) -> None:
    sagas.unary_failures = deque([GONE, GONE])
    created = await client.create(TRIP, Trip("Oslo"))
    assert created.existed
    assert {request.saga.saga_id for request in sagas.requests} == {created.saga_id}
    assert len(sagas.requests) == 3


async def test_a_call_ends_by_its_deadline() -> None:
    server, address = await serve(FakeSagas(never_answers=True))
    async with Client(address, timeout_s=0.2) as client:
        with pytest.raises(errors.CallTimeout):
            await client.create(TRIP, Trip("Oslo"))
    await server.stop(0)


async def test_nobody_at_the_address_is_told_when_patience_is_over() -> None:
    server, address = await serve(FakeSagas())
    await server.stop(0)
    async with Client(address, timeout_s=30.0, patience_s=0.3) as client:
        with pytest.raises(errors.Unavailable):
            await client.get("1")


@pytest.mark.parametrize(
    "breaks",
    [
        [],
        [Breaks(2), Breaks(0), Breaks(1)],
        [Breaks(1, grpc.StatusCode.INTERNAL), Breaks(1, grpc.StatusCode.CANCELLED)],
        [Breaks(3, grpc.StatusCode.DEADLINE_EXCEEDED), Breaks(1, grpc.StatusCode.UNKNOWN)],
        [Breaks(2, None), Breaks(1, None)],
    ],
)
@pytest.mark.parametrize("repeated_entries", [0, 3])
async def test_a_watch_has_every_entry_once(
    client: Client, sagas: FakeSagas, breaks: list[Breaks], repeated_entries: int
) -> None:
    sagas.breaks, sagas.repeated_entries, sagas.log_length = deque(breaks), repeated_entries, 21
    assert [entry.seq async for entry in client.watch("1", from_seq=3)] == list(range(3, 22))
    assert len(sagas.requests) == len(breaks) + 1


async def test_a_watch_outlives_the_restart_of_its_server(sagas: FakeSagas) -> None:
    sagas.never_ends = True
    server, address = await serve(sagas)
    after = FakeSagas(log_length=15)
    async with Client(address, patience_s=20.0) as client:
        seen = []
        async with contextlib.aclosing(client.watch("1")) as watching:
            async for entry in watching:
                seen.append(entry.seq)
                if entry.seq == 10:
                    await server.stop(0)
                    server, _address = await serve(after, address)
        assert seen == list(range(1, 16))
        assert [request.from_seq for request in after.requests] == [11]
    await server.stop(0)


async def test_leaving_a_watch_cancels_its_stream(client: Client, sagas: FakeSagas) -> None:
    sagas.never_ends = True
    async with contextlib.aclosing(client.watch("1")) as watching:
        async for entry in watching:
            if entry.seq == 10:
                break
    async with asyncio.timeout(10):
        await sagas.stream_gone.wait()
    assert sagas.streams_cancelled == 1


@pytest.mark.parametrize(
    "breaks", [[], [Breaks(0), Breaks(1), Breaks(2), Breaks(4)], [Breaks(3, None), Breaks(2, grpc.StatusCode.INTERNAL)]]
)
async def test_a_run_ends_every_saga_once_within_its_window(
    client: Client, sagas: FakeSagas, breaks: list[Breaks]
) -> None:
    sagas.breaks = deque(breaks)
    news = [trip(str(number)) for number in range(200)]
    ended = [each async for each in client.run_many(news, window=32)]
    assert sorted(int(each.saga_id) for each in ended) == list(range(200))
    assert all(each.state == SUCCEEDED and each.result() == Booking(int(each.saga_id)) for each in ended)
    assert sagas.most_outstanding <= 32
    assert len(sagas.created) == 200


async def test_leaving_a_run_leaves_nothing_behind(client: Client, sagas: FakeSagas) -> None:
    writers: list[asyncio.Task[object]] = []
    async with contextlib.aclosing(client.run_many(trip(str(number)) for number in range(100))) as running:
        async for _ended in running:
            writers = [task for task in asyncio.all_tasks() if "_consume_request_iterator" in repr(task.get_coro())]
            break
    assert len(writers) == 1
    async with asyncio.timeout(10):
        await sagas.stream_gone.wait()
        await asyncio.wait(writers)


async def test_an_error_in_the_source_of_a_run_reaches_its_consumer(client: Client) -> None:
    def news() -> Iterator[NewSaga[Booking]]:
        yield trip("1")
        raise LookupError("no more")

    with pytest.raises(LookupError):
        async for _ended in client.run_many(news()):
            pass


async def test_a_closed_client_opens_anew(client: Client) -> None:
    await client.create(TRIP, Trip("Oslo"))
    await client.close()
    assert (await client.create(TRIP, Trip("Oslo"))).saga_id
