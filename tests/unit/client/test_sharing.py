"""Concurrent runs and creations of one client go together, and each caller hears what a call of its own would tell."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Iterable
from typing import Any

import grpc
import pytest

from sagaline import errors
from sagaline.client import Client, NewSaga, shared_creations, shared_runs
from sagaline.v1 import saga_pb2
from tests.unit.api.conftest import Served, served
from tests.unit.api.fake_runtime import everything_succeeds, only_pay_succeeds
from tests.unit.api.specs import trip
from tests.unit.api.waiting import until
from tests.unit.client.fake_sagas import Breaks, FakeSagas, serve
from tests.unit.client.samples import Booking
from tests.unit.client.samples import trip as fake_trip

__all__ = ["served"]

SECONDS = 60.0
MANY = 200


@pytest.fixture
async def client(served: Served) -> AsyncIterator[Client]:
    async with Client(served.address, timeout_s=SECONDS, patience_s=SECONDS) as client:
        yield client


def new(saga_id: str, **fields: object) -> NewSaga[Any]:
    return NewSaga.of_spec(trip(saga_id, **fields))


def calls(served: Served, method: str) -> int:
    """Return how many calls of a method the server has begun to serve."""
    labels = {"grpc_service": "sagaline.v1.SagaService", "grpc_method": method}
    samples = [sample for metric in served.registry.collect() for sample in metric.samples]
    started = [each for each in samples if each.name == "grpc_server_started_total"]
    return sum(int(each.value) for each in started if labels.items() <= each.labels.items())


async def outcomes(asked: Iterable[Awaitable[Any]]) -> list[Any]:
    async with asyncio.timeout(SECONDS):
        return await asyncio.gather(*asked, return_exceptions=True)


# ---- runs


async def test_a_lone_run_has_a_call_of_its_own(served: Served, client: Client) -> None:
    served.runtime.ending = everything_succeeds
    for number in range(5):
        assert await client.run_new(new(f"s{number}")) == "done"
    assert (calls(served, "RunSaga"), calls(served, "RunSagas")) == (5, 0)


async def test_many_runs_share_one_stream(served: Served, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "IDLE_S", SECONDS)
    served.runtime.ending = everything_succeeds
    assert await outcomes(client.run_new(new(f"s{number}")) for number in range(MANY)) == ["done"] * MANY
    assert (calls(served, "RunSaga"), calls(served, "RunSagas")) == (shared_runs.ALONE_MAX, 1)
    assert served.runtime.creations == MANY
    assert await client.run_new(new("alone")) == "done"
    assert calls(served, "RunSaga") == shared_runs.ALONE_MAX + 1, "the stream is for many"
    assert await outcomes(client.run_new(new(f"t{number}")) for number in range(MANY)) == ["done"] * MANY
    assert calls(served, "RunSagas") == 1, "it is still open"


async def test_each_run_of_many_hears_what_became_of_its_own_saga(served: Served, client: Client) -> None:
    """And a saga that is refused says so with the fields of the saga, not of some batch."""
    served.runtime.ending = everything_succeeds
    await client.create_new(new("taken", labels={"a": "b"}))
    bad = trip("bad")
    bad.graph.nodes[0].name = "no blanks"
    asked = [new(f"s{number}") for number in range(20)] + [NewSaga.of_spec(bad), new("taken"), new("s1")]
    *fine, wrong, conflict, twice = await outcomes(client.run_new(each) for each in asked)
    assert (fine, twice) == (["done"] * 20, "done")
    assert isinstance(wrong, errors.InvalidRequest)
    assert wrong.problems[0].field == "saga.graph.nodes[0].name"
    assert isinstance(conflict, errors.SagaAlreadyExists)


async def test_a_run_of_many_that_needs_an_operator_says_so(served: Served, client: Client) -> None:
    served.runtime.ending = only_pay_succeeds
    for told in await outcomes(client.run_new(new(f"s{number}")) for number in range(20)):
        assert isinstance(told, errors.SagaStuck)
        assert told.failed_node == "hotel"
        assert told.failure is not None
        assert told.failure.type == "NoRoom"


async def test_a_run_of_many_ends_when_its_time_is_over(served: Served, client: Client) -> None:
    asked = [client.run_new(new(f"s{number}"), wait_s=0.3) for number in range(20)]
    patient = [asyncio.create_task(client.run_new(new(f"t{number}"))) for number in range(20)]
    for told in await outcomes(asked):
        assert isinstance(told, errors.SagaUnfinished)
    await until(lambda: len(served.runtime.sagas) == 40)
    served.runtime.run_on()
    async with asyncio.timeout(SECONDS):
        assert await asyncio.gather(*patient) == ["done"] * 20


async def test_a_run_that_is_cancelled_leaves_the_others_alone(served: Served, client: Client) -> None:
    tasks = [asyncio.create_task(client.run_new(new(f"s{number}"))) for number in range(20)]
    await until(lambda: len(served.runtime.sagas) == 20)
    for task in tasks[::2]:
        task.cancel()
    await until(lambda: all(task.done() for task in tasks[::2]))
    assert not any(task.done() for task in tasks[1::2])
    served.runtime.run_on()
    async with asyncio.timeout(SECONDS):
        assert await asyncio.gather(*tasks[1::2]) == ["done"] * 10


async def test_a_run_that_is_cancelled_before_it_was_sent_never_is(served: Served, client: Client) -> None:
    tasks = [asyncio.create_task(client.run_new(new(f"s{number}"))) for number in range(20)]
    await asyncio.sleep(0)  # every run has begun, and nothing has been written yet
    tasks[-1].cancel()
    await until(lambda: len(served.runtime.sagas) == 19)
    served.runtime.run_on()
    told = await outcomes(tasks)
    assert told[:-1] == ["done"] * 19
    assert isinstance(told[-1], asyncio.CancelledError)
    assert "s19" not in served.runtime.sagas


async def test_closing_the_client_tells_those_who_wait(served: Served) -> None:
    client = Client(served.address)
    tasks = [asyncio.create_task(client.run_new(new(f"s{number}"))) for number in range(20)]
    await until(lambda: len(served.runtime.sagas) == 20)
    await client.close()
    for told in await outcomes(tasks):
        assert isinstance(told, errors.CallStopped)
    served.runtime.run_on()
    async with client:
        assert await outcomes(client.run_new(new(f"s{number}")) for number in range(20)) == ["done"] * 20


async def test_a_stream_that_nobody_needs_ends(served: Served, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_runs, "IDLE_S", 0.01)
    served.runtime.ending = everything_succeeds
    for number in range(1, 4):
        asked = [client.run_new(new(f"s{number}-{each}")) for each in range(20)]
        assert await outcomes(asked) == ["done"] * 20
        await until(lambda: client._runs._task is None)
        assert calls(served, "RunSagas") == number


async def test_runs_that_were_given_up_hold_up_none_that_come_later(
    served: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SEC keeps a stream open that is merely ended, while it follows a saga that nobody here waits for any more."""
    monkeypatch.setattr(shared_runs, "IDLE_S", 0.01)
    given_up = await outcomes(client.run_new(new(f"s{number}"), wait_s=0.3) for number in range(20))
    assert all(isinstance(told, errors.SagaUnfinished) for told in given_up)
    await until(lambda: client._runs._task is None)
    later = [asyncio.create_task(client.run_new(new(f"t{number}"))) for number in range(20)]
    await until(lambda: len(served.runtime.sagas) == 40)
    served.runtime.run_on()
    assert await outcomes(later) == ["done"] * 20


@pytest.mark.parametrize(
    "breaks", [[Breaks(0), Breaks(1), Breaks(2)], [Breaks(3, None), Breaks(2, grpc.StatusCode.INTERNAL)]]
)
async def test_a_broken_stream_costs_no_run_its_end(breaks: list[Breaks]) -> None:
    sagas = FakeSagas(breaks=deque(breaks))
    server, address = await serve(sagas)
    async with Client(address, patience_s=SECONDS) as client:
        told = await outcomes(client.run_new(fake_trip(str(number))) for number in range(MANY))
    assert told == [Booking(number) for number in range(MANY)]
    assert set(sagas.created) == {str(number) for number in range(MANY)}
    await server.stop(0)


@pytest.mark.parametrize("code", [grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNIMPLEMENTED])
async def test_where_streams_are_refused_every_run_has_a_call_of_its_own(code: grpc.StatusCode) -> None:
    sagas = FakeSagas(breaks=deque(Breaks(0, code) for _ in range(MANY)))
    server, address = await serve(sagas)
    async with Client(address, patience_s=SECONDS) as client:
        told = await outcomes(client.run_new(fake_trip(str(number))) for number in range(20))
    assert told == [Booking(number) for number in range(20)]
    await server.stop(0)


async def test_when_patience_is_over_every_run_hears_that_nobody_is_there() -> None:
    server, address = await serve(FakeSagas())
    await server.stop(0)
    async with Client(address, patience_s=0.3) as client:
        for told in await outcomes(client.run_new(fake_trip(str(number))) for number in range(20)):
            assert isinstance(told, errors.Unavailable)


# ---- creations


async def test_a_lone_creation_has_a_call_of_its_own(served: Served, client: Client) -> None:
    for number in range(5):
        assert not (await client.create_new(new(f"s{number}"))).existed
    assert (calls(served, "CreateSaga"), calls(served, "CreateSagas")) == (5, 0)


async def test_many_creations_share_batches(served: Served, client: Client) -> None:
    for existed in (False, True):
        for number, created in enumerate(await outcomes(client.create_new(new(f"s{each}")) for each in range(MANY))):
            assert (created.saga_id, created.existed, created.error) == (f"s{number}", existed, None)
            assert (created.saga.saga_id, created.saga.state) == (f"s{number}", saga_pb2.SAGA_STATE_RUNNING)
    assert calls(served, "CreateSaga") == 2 * shared_creations.CALLS_MAX
    assert 2 <= calls(served, "CreateSagas") <= 4


async def test_each_creation_of_many_hears_what_became_of_its_own_saga(served: Served, client: Client) -> None:
    await client.create_new(new("taken", labels={"a": "b"}))
    bad = trip("bad")
    bad.graph.nodes[0].name = "no blanks"
    asked = [new(f"s{number}") for number in range(20)] + [NewSaga.of_spec(bad), new("taken")]
    *fine, wrong, conflict = await outcomes(client.create_new(each) for each in asked)
    assert [created.saga_id for created in fine] == [f"s{number}" for number in range(20)]
    assert isinstance(wrong, errors.InvalidRequest)
    assert wrong.problems[0].field == "saga.graph.nodes[0].name"
    assert isinstance(conflict, errors.SagaAlreadyExists)


async def test_a_creation_that_is_cancelled_before_it_was_sent_never_is(served: Served, client: Client) -> None:
    tasks = [asyncio.create_task(client.create_new(new(f"s{number}"))) for number in range(20)]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    told = await outcomes(tasks)
    assert [created.saga_id for created in told[:-1]] == [f"s{number}" for number in range(19)]
    assert isinstance(told[-1], asyncio.CancelledError)
    assert "s19" not in served.runtime.sagas


async def test_creations_that_wait_for_room_keep_their_deadline() -> None:
    server, address = await serve(FakeSagas(never_answers=True))
    async with Client(address, timeout_s=0.2) as client:
        for told in await outcomes(client.create_new(fake_trip(str(number))) for number in range(20)):
            assert isinstance(told, errors.CallTimeout)
    await server.stop(0)


async def test_closing_the_client_tells_those_who_create() -> None:
    sagas = FakeSagas(never_answers=True)
    server, address = await serve(sagas)
    client = Client(address)
    tasks = [asyncio.create_task(client.create_new(fake_trip(str(number)))) for number in range(20)]
    await until(lambda: len(sagas.requests) == shared_creations.CALLS_MAX)
    await client.close()
    for told in await outcomes(tasks):
        assert isinstance(told, errors.CallStopped)
    await server.stop(0)
