"""How long the sagas of a SEC that was killed wait until another one goes on with them."""

from __future__ import annotations

import time
from pathlib import Path

from sagaline import Client, GraphBuilder, NewSaga
from sagaline.graph import Graph
from tests.failover.figures.actions import take_a_while
from tests.failover.figures.figure import Figure, quantile_ms
from tests.failover.figures.owners import Owners, watching
from tests.failover.hosts import SecHost
from tests.failover.site import Site

SAGAS = 150
"""On each SEC at the beginning."""
WAIT_SECONDS = 60.0
BEYOND_SECONDS = 2.5
"""How much longer than the lease a take-over may take: etcd looks for expired leases every half second."""


def one() -> Graph[str, str]:
    """Return a graph of one action."""
    graph = GraphBuilder("one", params=str)
    return graph.build(result=graph.add("only", take_a_while, graph.params))


async def create_held(sec: SecHost, count: int) -> list[str]:
    """Create sagas that run and start nothing, because they are paused."""
    async with Client(sec.address) as client:
        graph = one()
        created = await client.create_many([NewSaga(graph, "value", start_paused=True) for _ in range(count)])
        assert all(each.error is None for each in created)
        return [each.saga_id for each in created]


async def measure(folder: Path, kills: int) -> Figure:
    """Kill one SEC after the other, and take the time of each of its sagas."""
    figure = Figure("take_over")
    times: list[float] = []
    async with Site(folder, workers=0, proxied=False) as site, watching(site) as owners:
        created = [saga_id for sec in site.secs for saga_id in await create_held(sec, SAGAS)]
        await owners.until_written(created, WAIT_SECONDS)
        for number in range(kills):
            times += await _kill(site.secs[number % len(site.secs)], owners)
        left = set(created) - owners.owners.keys()
    ttl_ms = site.settings.lease_ttl * 1000
    figure.values = {
        "ttl_ms": ttl_ms,
        "kills": kills,
        "sagas": len(times),
        "p50_ms": quantile_ms(times, 0.5),
        "p99_ms": quantile_ms(times, 0.99),
        "max_ms": quantile_ms(times, 1.0),
    }
    figure.demand(not left, f"{len(left)} sagas have no owner any more")
    late = figure.values["p99_ms"] - ttl_ms
    figure.demand(late <= BEYOND_SECONDS * 1000, f"take-over took {late:.0f} ms longer than the lease")
    return figure


async def _kill(sec: SecHost, owners: Owners) -> list[float]:
    orphans = owners.of(sec.name)
    owners.forget()
    killed = time.monotonic()
    await sec.kill()
    await owners.until_written(orphans, WAIT_SECONDS)
    times = [owners.written[saga_id] - killed for saga_id in orphans]
    await sec.launch()
    await sec.until_serving()
    return times
