"""How long it takes to hand off a thousand running sagas, and what of them runs twice: nothing."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

from sagaline import Client, GraphBuilder, NewSaga
from sagaline.graph import Graph
from sagaline.v1 import saga_pb2
from tests.failover.figures.actions import wait_for_gate
from tests.failover.figures.figure import Figure, Traces
from tests.failover.figures.owners import watching
from tests.failover.site import Site

WAIT_SECONDS = 60.0
SLOTS_BEYOND = 100


def gated() -> Graph[str, str]:
    """Return a graph of one action that waits for the gate."""
    graph = GraphBuilder("gated", params=str)
    return graph.build(result=graph.add("only", wait_for_gate, graph.params))


async def measure(folder: Path, sagas: int) -> Figure:
    """Let a SEC with so many sagas leave, each with an action under way; the folder is there."""
    figure = Figure("hand_off", {"sagas": sagas})
    traces = Traces(folder)
    async with Site(folder, workers=0, proxied=False) as site, watching(site) as owners:
        leaving, *others = site.secs
        command = ["-m", "tests.failover.figures.actions", leaving.address, str(sagas + SLOTS_BEYOND)]
        await site.add_worker("worker", command, traces.environment)
        graph = gated()
        async with Client(leaving.address) as client:
            news = [NewSaga(graph, "value") for _ in range(sagas)]
            created = [each.saga_id for each in await client.create_many(news)]
        await _until_running(traces, sagas)
        owners.forget()
        began = time.monotonic()
        code = await leaving.leave()
        figure.values["left_in_ms"] = round((time.monotonic() - began) * 1000)
        await owners.until_written(created, WAIT_SECONDS)
        figure.values["all_go_on_after_ms"] = round((max(owners.written.values()) - began) * 1000)
        figure.demand(code == 0, f"{leaving.name} left with exit code {code}")
        figure.demand(not owners.of(leaving.name), f"{len(owners.of(leaving.name))} sagas were left behind")
        traces.gate.touch()
        async with Client(others[0].address) as client:
            ended = [await client.wait(saga_id, wait_s=WAIT_SECONDS) for saga_id in created]
    succeeded = sum(saga.state == saga_pb2.SAGA_STATE_SUCCEEDED for saga in ended)
    figure.values.update(succeeded=succeeded, run_twice=traces.run_twice())
    figure.demand(succeeded == sagas, f"{sagas - succeeded} sagas did not succeed")
    figure.demand(not traces.run_twice(), f"{traces.run_twice()} invocations ran twice")
    return figure


async def _until_running(traces: Traces, count: int) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while sum(traces.runs().values()) < count:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
