"""A limit on an action holds over several SECs, also while one that has attempts in flight is killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import pytest

from sagaline import Client, GraphBuilder, Worker, action
from sagaline.graph import Graph
from sagaline.v1 import admin_service_pb2, saga_pb2
from tests.failover.hosts import SecSettings
from tests.failover.site import PREFIX, Site
from tests.failover.waiting import until

pytestmark = pytest.mark.etcd

SECONDS = 60.0
LEASE_SECONDS = 2
LIMIT = 3
SAGAS_EACH = 4


class Desk:
    """Counts who is at it, and lets nobody go before that is asked for."""

    def __init__(self) -> None:
        self.here: dict[str, asyncio.Event] = {}
        self.most = 0
        self.old: set[str] = set()
        """Who came while shares of the limit were changing."""
        self.most_new = 0
        """How many of the others were here at once."""
        self.changed = asyncio.Event()

    async def visit(self, name: str) -> None:
        leave = self.here[name] = asyncio.Event()
        self.most = max(self.most, len(self.here))
        self.most_new = max(self.most_new, len(self.here.keys() - self.old))
        self.changed.set()
        await leave.wait()
        del self.here[name]
        self.changed.set()

    def let_go(self) -> None:
        """Let everybody go who is here."""
        for leave in self.here.values():
            leave.set()

    async def until_here(self, count: int) -> None:
        """Wait until so many are here, the old ones not counted."""
        async with asyncio.timeout(SECONDS):
            while len(self.here.keys() - self.old) < count:
                self.changed.clear()
                await self.changed.wait()


desk = Desk()


@action("limits.visit")
async def visit(name: str) -> str:
    await desk.visit(name)
    return name


@visit.undo
async def forget(name: str) -> None:
    """Nothing is left of a visit."""


def graph() -> Graph[str, str]:
    builder = GraphBuilder("visits", params=str)
    return builder.build(result=builder.add("visit", visit, builder.params))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Three SECs on one etcd."""
    settings = SecSettings(PREFIX, lease_ttl=LEASE_SECONDS)
    async with Site(tmp_path / "site", secs=3, workers=0, members=1, proxied=False, settings=settings) as site:
        yield site


@asynccontextmanager
async def clients_of(site: Site) -> AsyncIterator[list[Client]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(Client(sec.address, timeout_s=5.0)) for sec in site.secs]


@asynccontextmanager
async def working(addresses: str) -> AsyncIterator[None]:
    worker = Worker(addresses, actions=[visit])
    running = asyncio.create_task(worker.run(handle_signals=False))
    try:
        yield
    finally:
        desk.let_go()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def all_wait_for_the_limit(clients: Sequence[Client], saga_ids: Sequence[str]) -> bool:
    waits = [(await clients[0].explain(saga_id)).waits for saga_id in saga_ids]
    return all([wait.reason for wait in of_one] == [admin_service_pb2.WAIT_REASON_LIMIT] for of_one in waits)


async def test_a_limit_holds_while_a_sec_that_has_a_share_of_it_is_killed(site: Site) -> None:
    async with AsyncExitStack() as stack:
        clients = await stack.enter_async_context(clients_of(site))
        saga_ids = await create_behind_a_limit_of_0(clients)
        await stack.enter_async_context(working(",".join(sec.worker_address for sec in site.secs)))
        for client in clients:
            await until(partial(has_a_worker, client), SECONDS)
        await clients[0].set_action_limit("limits.visit", max_in_flight=LIMIT)
        await desk.until_here(LIMIT)
        assert desk.most == LIMIT, "one for each SEC"

        killed, *others = reversed(site.secs)
        await killed.kill()
        living = [client for client, sec in zip(clients, site.secs, strict=True) if sec is not killed]
        names = {sec.name for sec in others}
        await until(lambda: is_taken_over(living, saga_ids, names), SECONDS)
        # The heirs may have begun with their new shares before they knew what is in flight of the dead one's.
        assert desk.most <= LIMIT + 1

        desk.old, desk.most_new = set(desk.here), 0
        desk.let_go()
        await desk.until_here(LIMIT)
        await let_everybody_visit(living[0], saga_ids)
        assert desk.most_new == LIMIT, "the shares of those that are left are the whole of it"


async def create_behind_a_limit_of_0(clients: Sequence[Client]) -> list[str]:
    """Create sagas at every SEC, and wait until each says that the limit holds them.

    No worker may be there yet: another SEC than the one that was asked hears of
    the limit a moment later, and would start what is created in between.
    """
    await clients[0].set_action_limit("limits.visit", max_in_flight=0)
    saga_ids = []

    for number, client in enumerate(clients):
        await until(partial(knows_all, client, len(clients)), SECONDS)
        for visitor in range(SAGAS_EACH):
            created = await client.create(graph(), f"visitor {number}.{visitor}")
            saga_ids.append(created.saga_id)
    await until(lambda: all_wait_for_the_limit(clients, saga_ids), SECONDS)
    return saga_ids


async def knows_all(client: Client, count: int) -> bool:
    return len(await client.secs()) == count


async def has_a_worker(client: Client) -> bool:
    return len(await client.workers()) == 1


async def is_taken_over(living: Sequence[Client], saga_ids: Sequence[str], names: set[str]) -> bool:
    """Tell whether those that are left know of each other alone, and own every saga."""
    members = [{status.sec.sec_id for status in await client.secs()} for client in living]
    owners = {(await living[0].get(saga_id)).owner for saga_id in saga_ids}
    return all(known == names for known in members) and owners <= names


async def let_everybody_visit(client: Client, saga_ids: Sequence[str]) -> None:
    """Let visitors go as they come, until every saga has ended."""
    ending = asyncio.gather(*(client.wait(saga_id, wait_s=SECONDS) for saga_id in saga_ids))
    ending.add_done_callback(lambda _: desk.changed.set())
    async with asyncio.timeout(SECONDS):
        while not ending.done():
            desk.let_go()
            desk.changed.clear()
            await desk.changed.wait()
    assert {saga.state for saga in await ending} == {saga_pb2.SAGA_STATE_SUCCEEDED}
