"""Load for a site in trouble: sagas of both examples, created, watched, unwound, held and handed off from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc

from sagaline import Client, NewSaga
from sagaline.client.states import is_final
from sagaline.errors import NotAllowedNow, NotFound, RpcError, SagaAlreadyExists
from sagaline.v1 import log_pb2, saga_pb2
from sagaline_examples.inventory import Inventory
from tests.failover.anywhere import Anywhere, LetDown, refusal_of
from tests.failover.watches import Watch

BURST = 20
"""Sagas that are created at once."""
WATCHED = 0.4
TWINS = 0.1
UNWOUND = 0.08
PAUSED = 0.05
HANDED_OFF = 0.08
OPERATOR = "failover"
REASON = "the cause has been mended"
POLL_SECONDS = 0.5
IN_DOUBT = (
    saga_pb2.NODE_STATUS_UNDO_FAILED,
    saga_pb2.NODE_STATUS_HELD,
)


class Load:
    """What clients do during one run, and what they were told."""

    def __init__(
        self, orders: Sequence[NewSaga[Any]], anywhere: Anywhere, channels: Sequence[grpc.aio.Channel], seed: int
    ) -> None:
        self._orders = orders
        self._anywhere = anywhere
        self._channels = channels
        self._chance = random.Random(f"load {seed}")
        self.acknowledged: dict[str, NewSaga[Any]] = {}
        """Sagas that a SEC said were created."""
        self.watches: list[Watch] = []
        self.problems: list[str] = []
        """Answers that no fault excuses."""
        self.counts: Counter[str] = Counter()
        self.created = asyncio.Event()
        """Set when every saga has been acknowledged, or something has gone wrong that no fault excuses."""

    async def run(self, seconds: float) -> None:
        """Create all sagas over a time, and do to each what chance says; ends when each client is done."""
        loop = asyncio.get_running_loop()
        began, pace = loop.time(), seconds / len(self._orders)
        async with asyncio.TaskGroup() as clients:
            for number, order in enumerate(self._orders):
                if number % BURST == 0:
                    await asyncio.sleep(max(began + number * pace - loop.time(), 0.0))
                clients.create_task(self._live(order, random.Random(self._chance.getrandbits(64))))

    async def _live(self, order: NewSaga[Any], chance: random.Random) -> None:
        try:
            async with asyncio.TaskGroup() as clients:
                await self._create(order, twin=chance.random() < TWINS)
                if chance.random() < WATCHED:
                    watch = Watch(order.saga_id, self._channels, chance)
                    self.watches.append(watch)
                    clients.create_task(watch.run())
                await self._bother(order.saga_id, chance)
        except* LetDown as group:
            self.problems += [f"{order.saga_id}: {error}" for error in group.exceptions]
            self.created.set()

    async def _create(self, order: NewSaga[Any], *, twin: bool) -> None:
        """Create a saga, at two SECs at once if it is to have a twin, which must come to one saga."""
        calls = [self._anywhere.ask(lambda client: client.create_new(order)) for _ in range(2 if twin else 1)]
        for created in await asyncio.gather(*calls):
            self.counts["existed" if created.existed else "created"] += 1
        self.acknowledged[order.saga_id] = order
        if len(self.acknowledged) == len(self._orders):
            self.created.set()

    async def _bother(self, saga_id: str, chance: random.Random) -> None:
        if chance.random() < HANDED_OFF:
            await asyncio.sleep(chance.uniform(0.0, 0.2))
            await self._order("hand off", lambda client: client.hand_off(saga_id))
        if chance.random() < PAUSED:
            await self._order("pause", lambda client: client.pause(saga_id, actor=OPERATOR))
            await asyncio.sleep(chance.uniform(0.0, 3.0))
            await self._order("resume", lambda client: client.resume(saga_id, actor=OPERATOR))
        if chance.random() < UNWOUND:
            await asyncio.sleep(chance.uniform(0.0, 2.0))
            await self._order("unwind", lambda client: client.unwind(saga_id, actor=OPERATOR))

    async def _order(self, what: str, call: Callable[[Client], Awaitable[Any]]) -> None:
        try:
            await self._anywhere.ask(call)
        except (NotAllowedNow, NotFound) as refused:
            self.counts[f"{what}: {refusal_of(refused)}"] += 1
            if refused.reason == "SAGA_NOT_FOUND":
                self.problems.append(f"{what}: an acknowledged saga was not found")
        except RpcError as error:
            self.problems.append(f"{what}: {error}")
        else:
            self.counts[what] += 1

    async def clash(self, other: NewSaga[Any]) -> None:
        """Create a saga of an id that is taken, with other content: it must be refused."""
        try:
            await self._anywhere.ask(lambda client: client.create_new(other))
        except SagaAlreadyExists:
            self.counts["clash"] += 1
        else:
            self.problems.append(f"{other.saga_id} was created with two contents")


async def until_all_final(anywhere: Anywhere, saga_ids: Sequence[str], inventory: Inventory) -> list[saga_pb2.Saga]:
    """Wait until every saga has ended, as an operator does who resolves what is stuck. The caller bounds it."""
    while True:
        sagas = await anywhere.ask(list_all)
        missing = set(saga_ids) - {saga.saga_id for saga in sagas}
        if missing:
            raise LetDown(f"{len(missing)} acknowledged sagas are in no list: {sorted(missing)[:5]}")
        for saga in sagas:
            if saga.needs_operator:
                await _resolve(anywhere, saga.saga_id, inventory)
        if all(is_final(saga.state) for saga in sagas):
            return sagas
        await asyncio.sleep(POLL_SECONDS)


async def list_all(client: Client) -> list[saga_pb2.Saga]:
    """List every saga."""
    return [saga async for saga in client.list()]


async def _resolve(anywhere: Anywhere, saga_id: str, inventory: Inventory) -> None:
    with inventory.transaction() as db:
        db.execute("UPDATE volumes SET locked = 0 WHERE saga = ?", (saga_id,))
    view = await anywhere.ask(lambda client: client.get(saga_id))
    for node in view.nodes:
        if node.status in IN_DOUBT:
            await _retry(anywhere, saga_id, node.name)


async def _retry(anywhere: Anywhere, saga_id: str, node: str) -> None:
    with contextlib.suppress(NotAllowedNow):  # an order that went unanswered was carried out after all
        await anywhere.ask(
            lambda client: client.resolve(saga_id, node, log_pb2.RESOLUTION_RETRY, actor=OPERATOR, reason=REASON)
        )
