"""How live sagas fare while a SEC takes over thousands beside them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sagaline import Client, GraphBuilder
from sagaline.errors import SagalineError
from sagaline.graph import Graph
from tests.bench.actions import hand_on
from tests.failover.figures.figure import Figure, quantile_ms
from tests.failover.figures.owners import Owners, watching
from tests.failover.figures.take_over import create_held
from tests.failover.hosts import SecHost
from tests.failover.site import Site

LIVE_AT_ONCE = 4
"""Live sagas on each survivor."""
BEFORE_SECONDS = 5.0
CREATE_SECONDS = 120.0
ADOPT_SECONDS = 120.0
SLOTS = "100"
STARVED_MS = 2_000.0
"""A live saga that takes longer than this beside an adoption has been starved."""


def three() -> Graph[str, str]:
    """Return a graph of three actions in a row that do nothing."""
    graph = GraphBuilder("three", params=str)
    first = graph.add("first", hand_on, graph.params)
    return graph.build(result=graph.add("third", hand_on, graph.add("second", hand_on, first)))


class LiveLoad:
    """Sagas that run one after the other on each survivor, with the time that each took."""

    def __init__(self) -> None:
        self.ended: list[tuple[float, float]] = []
        """When each ended, and its latency, in seconds."""
        self.failures: list[str] = []

    async def run(self, secs: Sequence[SecHost]) -> None:
        """Run for ever. The caller cancels it."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for sec in secs:
                client = await stack.enter_async_context(Client(sec.address))
                for _ in range(LIVE_AT_ONCE):
                    group.create_task(self._loop(client))

    async def _loop(self, client: Client) -> None:
        graph = three()
        while True:
            began = time.monotonic()
            try:
                await client.run(graph, "value")
            except SagalineError as error:
                self.failures.append(str(error))
            now = time.monotonic()
            self.ended.append((now, now - began))

    def latencies(self, since: float, until: float) -> list[float]:
        """Return the latencies of those that ended in a while."""
        return [latency for ended, latency in self.ended if since <= ended < until]


async def measure(folder: Path, sagas: int) -> Figure:
    """Kill a SEC that owns so many sagas."""
    figure = Figure("adoption", {"sagas": sagas})
    async with Site(folder, workers=0, proxied=False) as site, watching(site) as owners:
        dying, *survivors = site.secs
        for sec in survivors:
            await site.add_worker(f"worker-of-{sec.name}", ["-m", "tests.bench.actions", sec.address, SLOTS])
        async with asyncio.timeout(CREATE_SECONDS):
            created = await create_held(dying, sagas)
        await owners.until_written(created, CREATE_SECONDS)
        await _beside_load(figure, dying, survivors, created, owners)
    return figure


async def _beside_load(
    figure: Figure, dying: SecHost, survivors: Sequence[SecHost], created: Sequence[str], owners: Owners
) -> None:
    load = LiveLoad()
    loading = asyncio.create_task(load.run(survivors))
    try:
        await asyncio.sleep(1.0)
        began = time.monotonic()
        await asyncio.sleep(BEFORE_SECONDS)
        owners.forget()
        killed = time.monotonic()
        await dying.kill()
        await owners.until_written(created, ADOPT_SECONDS)
    finally:
        loading.cancel()
        await asyncio.gather(loading, return_exceptions=True)
    times = [owners.written[saga_id] for saga_id in created]
    before = load.latencies(began, killed)
    beside = load.latencies(min(times), max(times))
    figure.values.update(
        adopted_in_ms=round((max(times) - min(times)) * 1000),
        adopted_per_s=round(len(times) / max(max(times) - min(times), 0.001)),
        live_before_p50_ms=quantile_ms(before, 0.5),
        live_before_p99_ms=quantile_ms(before, 0.99),
        live_beside_p50_ms=quantile_ms(beside, 0.5),
        live_beside_p99_ms=quantile_ms(beside, 0.99),
        live_beside_max_ms=quantile_ms(beside, 1.0),
        live_before_per_s=round(len(before) / (killed - began)),
        live_beside_per_s=round(len(beside) / max(max(times) - min(times), 0.001)),
    )
    figure.demand(not load.failures, f"{len(load.failures)} live sagas went wrong; the first: {load.failures[:1]}")
    figure.demand(bool(beside), "no live saga ended beside the adoption")
    slowest = figure.values["live_beside_max_ms"]
    figure.demand(slowest <= STARVED_MS, f"a live saga took {slowest:.0f} ms beside the adoption")
