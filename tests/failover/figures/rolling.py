"""What clients and workers notice while three SECs are restarted one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from sagaline import Client, GraphBuilder
from sagaline.client.states import is_final
from sagaline.errors import SagalineError
from sagaline.graph import Graph
from tests.failover.figures.actions import take_a_while
from tests.failover.figures.figure import Figure, Traces, quantile_ms
from tests.failover.hosts import SecHost
from tests.failover.site import Site

AT_ONCE = 10
"""Sagas in flight of each client."""
BEFORE_SECONDS = 1.0
BETWEEN_SECONDS = 0.5
SLOTS = "60"
END_SECONDS = 60.0


def three() -> Graph[str, str]:
    """Return a graph of three actions in a row that take a while."""
    graph = GraphBuilder("three", params=str)
    first = graph.add("first", take_a_while, graph.params)
    return graph.build(result=graph.add("third", take_a_while, graph.add("second", take_a_while, first)))


class ClosedLoads:
    """Clients that run one saga after the other until they are told to stop; each knows every SEC."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = list(addresses)
        self._stopping = False
        self.latencies: list[float] = []
        self.failures: list[str] = []

    def stop(self) -> None:
        """Let every client end with the saga that it is at."""
        self._stopping = True

    async def run(self) -> None:
        """Run until stopped."""
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
            for number in range(len(self._addresses)):
                target = targets(self._addresses[number:] + self._addresses[:number])
                client = await stack.enter_async_context(Client(target))
                for _ in range(AT_ONCE):
                    group.create_task(self._loop(client))

    async def _loop(self, client: Client) -> None:
        graph = three()
        while not self._stopping:
            began = time.monotonic()
            try:
                await client.run(graph, "value", wait_s=END_SECONDS)
            except SagalineError as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.latencies.append(time.monotonic() - began)


def targets(addresses: Sequence[str]) -> str:
    """Return one gRPC target of several addresses, tried in this order."""
    return f"ipv4:{','.join(addresses)}"


async def measure(folder: Path, rounds: int) -> Figure:
    """Restart every SEC in turn, so many times; the folder is there."""
    figure = Figure("rolling_restart", {"restarts": 0})
    traces = Traces(folder)
    async with Site(folder, workers=0, proxied=False) as site:
        for number, sec in enumerate(site.secs):
            command = ["-m", "tests.failover.figures.actions", sec.address, SLOTS]
            await site.add_worker(f"worker-{number + 1}", command, traces.environment)
        loads = ClosedLoads([sec.address for sec in site.secs])
        loading = asyncio.create_task(loads.run())
        try:
            await asyncio.sleep(BEFORE_SECONDS)
            began = time.monotonic()
            for _ in range(rounds):
                for sec in site.secs:
                    await _restart(sec, figure)
                    await asyncio.sleep(BETWEEN_SECONDS)
            figure.values["seconds"] = round(time.monotonic() - began, 1)
            loads.stop()
            await asyncio.wait_for(loading, END_SECONDS)
        finally:
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
        async with Client(site.secs[0].address) as client:
            sagas = [saga async for saga in client.list()]
    unfinished = sum(not is_final(saga.state) for saga in sagas)
    figure.values.update(
        sagas=len(sagas),
        failed_requests=len(loads.failures),
        sagas_lost=unfinished,
        run_twice=traces.run_twice(),
        p50_ms=quantile_ms(loads.latencies, 0.5),
        p99_ms=quantile_ms(loads.latencies, 0.99),
        max_ms=quantile_ms(loads.latencies, 1.0),
    )
    figure.demand(not loads.failures, f"{len(loads.failures)} requests failed; the first: {loads.failures[:1]}")
    figure.demand(not unfinished, f"{unfinished} sagas have not ended")
    figure.demand(not traces.run_twice(), f"{traces.run_twice()} runs were second ones, and no worker was away")
    return figure


async def _restart(sec: SecHost, figure: Figure) -> None:
    code = await sec.leave()
    figure.demand(code == 0, f"{sec.name} left with exit code {code}")
    await sec.launch()
    await sec.until_serving()
    figure.values["restarts"] += 1
