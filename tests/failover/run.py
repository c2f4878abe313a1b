"""One run: a site, load, a schedule of faults; then everything is healed, brought to its end, and audited."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from sagaline import NewSaga
from sagaline.client.states import is_final
from sagaline.v1 import saga_pb2
from sagaline_examples.audit import SagaEnd, audit
from sagaline_examples.demo import plan
from sagaline_examples.inventory import Inventory
from sagaline_examples.provision.graph import PROVISION
from sagaline_examples.provision.values import VmRequest
from tests.failover.anywhere import Anywhere
from tests.failover.history import Archive
from tests.failover.load import Load, list_all, until_all_final
from tests.failover.mixture import draw_orders
from tests.failover.schedule import Schedule, carry_out
from tests.failover.site import Site

END_SECONDS = 150.0
"""How long everything may take to end once nothing is wrong any more."""
STALL_SECONDS = 30.0
"""Longer than that, something was stalled: a lease, a grace time and a few retries take a third of it."""
DOUBLED = frozenset({"double"})
"""Rules of the examples' audit that say that something was done twice."""

Say = Callable[[str], None]


@dataclass
class RunReport:
    """What one run came to."""

    seed: int
    sagas: int = 0
    """Sagas that were acknowledged."""
    faults: int = 0
    lost: int = 0
    """Acknowledged sagas that are not there, or have not ended."""
    doubled: int = 0
    """Changes of the inventory that were made twice."""
    problems: list[str] = field(default_factory=list)
    """Everything that must not be, those two included."""
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """True when nothing is wrong."""
        return not (self.lost or self.doubled or self.problems)


async def run_once(schedule: Schedule, folder: Path, *, sagas: int, seconds: float, say: Say) -> RunReport:
    """Run a schedule in a folder that is there, and audit what is left; whatever goes wrong is in the report."""
    report = RunReport(schedule.seed)
    for line in schedule.lines():
        say(line)
    inventory = Inventory(folder / "inventory.db", durable=False)
    try:
        plan.stock(inventory, sagas)
        async with Site(folder) as site, AsyncExitStack() as stack:
            await _Run(schedule, site, inventory, stack, report, say).run(sagas, seconds)
    except Exception as error:  # noqa: BLE001 - a run that breaks down is a finding like any other
        report.problems += [f"{type(each).__name__}: {each}" for each in _leaves(error)]
    finally:
        inventory.close()
    return report


class _Run:
    def __init__(
        self, schedule: Schedule, site: Site, inventory: Inventory, stack: AsyncExitStack, report: RunReport, say: Say
    ) -> None:
        self._schedule = schedule
        self._site = site
        self._inventory = inventory
        self._stack = stack
        self._report = report
        self._say = say

    async def run(self, sagas: int, seconds: float) -> None:
        site, seed = self._site, self._schedule.seed
        chance = random.Random(f"run {seed}")
        addresses = [sec.client_address for sec in site.secs]
        channels = [await self._stack.enter_async_context(grpc.aio.insecure_channel(each)) for each in addresses]
        anywhere = await self._stack.enter_async_context(Anywhere(addresses, chance))
        orders = draw_orders(sagas, random.Random(f"orders {seed}"))
        load = Load(orders, anywhere, channels, seed)
        await self._disturb(load, seconds)
        ended = await self._until_ended(load, anywhere)
        await load.clash(_other_content(orders[0]))
        self._judge(load, ended)
        await self._read_history(load, ended)

    async def _disturb(self, load: Load, seconds: float) -> None:
        """Let load and faults go on beside each other; watches may go on to the end of the last saga."""
        loading = asyncio.create_task(load.run(seconds))
        self._stack.push_async_callback(_ended, loading)
        self._loading = loading
        self._report.faults = await carry_out(self._schedule, self._site, self._say)
        await self._site.heal()

    async def _until_ended(self, load: Load, anywhere: Anywhere) -> list[saga_pb2.Saga]:
        healed = time.monotonic()
        try:
            async with asyncio.timeout(END_SECONDS):
                await load.created.wait()
                ended = await until_all_final(anywhere, list(load.acknowledged), self._inventory)
                self._say(f"  all sagas had ended {time.monotonic() - healed:.1f} s after everything was healed,")
                await self._loading
        except TimeoutError:
            await self._count_lost(load, anywhere)
            raise
        took = time.monotonic() - healed
        self._say(f"  and all clients had what they wanted after {took:.1f} s")
        if took > STALL_SECONDS:
            self._report.problems.append(f"it took {took:.0f} s to end everything, though nothing was wrong")
        return ended

    async def _count_lost(self, load: Load, anywhere: Anywhere) -> None:
        final = {saga.saga_id for saga in await anywhere.ask(list_all) if is_final(saga.state)}
        lost = sorted(load.acknowledged.keys() - final)
        self._report.sagas, self._report.lost = len(load.acknowledged), len(lost)
        self._report.problems.append(f"not ended: {', '.join(lost[:5])}")

    def _judge(self, load: Load, ended: Sequence[saga_pb2.Saga]) -> None:
        report = self._report
        report.sagas = len(load.acknowledged)
        report.lost = len(load.acknowledged.keys() - {saga.saga_id for saga in ended})
        report.problems += load.problems
        for violation in audit(self._inventory, map(SagaEnd.of, ended)).violations:
            report.doubled += violation.rule in DOUBLED
            report.problems.append(f"{violation.rule}: {violation.subject} {violation.what}")
        report.counts = {**load.counts, "watches": len(load.watches)}
        report.counts["streams"] = sum(watch.streams for watch in load.watches)

    async def _read_history(self, load: Load, ended: Sequence[saga_pb2.Saga]) -> None:
        archive = Archive(self._site.keys)
        async with self._site.channel() as channel:
            await archive.read(channel, self._site.root)
        report = self._report
        report.problems += archive.problems
        report.problems += [f"{saga_id} is shown as ended, and its log has no end" for saga_id in archive.unfinished()]
        logs = archive.logs()
        for watch in load.watches:
            problem = watch.compare(logs.get(watch.saga_id, []))
            if problem:
                report.problems.append(f"watch of {watch.saga_id}: {problem}")
        report.problems += [f"{saga.saga_id} has an end and no log" for saga in ended if saga.saga_id not in logs]
        report.problems += await self._leftovers()
        report.counts.update(
            entries=archive.entries, incarnations=archive.backend.count, owner_changes=archive.owner_changes
        )

    async def _leftovers(self) -> list[str]:
        """Return keys that should have gone with the end of the last saga."""
        left = await self._site.keys_under(self._site.keys.owners, self._site.keys.controls)
        return [f"{key} is left in etcd" for key in left]


async def _ended(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _other_content(order: NewSaga[Any]) -> NewSaga[Any]:
    return NewSaga(PROVISION, VmRequest("another machine"), saga_id=order.saga_id)


def _leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in _leaves(each)]
    return [error]
