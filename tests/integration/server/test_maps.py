"""Maps on a real SEC with a real worker."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

from sagaline import Failed, GraphBuilder, Worker, action
from sagaline.client import Client
from sagaline.v1 import saga_pb2
from sagaline_examples.trip.group import GROUP
from sagaline_server.core.validate import check_graph
from sagaline_server.wire.specs import graph_from
from tests.integration.secs import ANY_PORT, SERVER, started


@action("maps.double")
async def double(number: int) -> int:
    if number < 0:
        raise Failed("Negative", "no negative numbers")
    return 2 * number


@double.undo
async def halve() -> None:
    """Nothing was done."""


async def test_a_map_runs_to_its_end_over_several_appends(tmp_path: Path) -> None:
    graph = GraphBuilder("doubles", params=list[int])
    doubled = graph.map("doubles", double, over=graph.params, canary=1, max_failures=1)
    whole = graph.build(result=doubled)
    async with started(*SERVER, "--listen", ANY_PORT, "--data-dir", str(tmp_path / "data")) as sec:
        address = await sec.address()
        worker = Worker(address, actions=[double])
        running = asyncio.create_task(worker.run(handle_signals=False))
        async with Client(address) as client:
            numbers = [*range(600), -1]
            created = await client.create(whole, numbers)
            end = await asyncio.wait_for(client.wait(created.saga_id), 50)
        worker.drain(timedelta(0))
        await running
    assert end.state == saga_pb2.SAGA_STATE_SUCCEEDED
    assert json.loads(end.output.json) == [*(2 * number for number in range(600)), None]


def test_the_group_trip_is_a_graph_that_is_accepted() -> None:
    assert check_graph(graph_from(GROUP.to_proto())) == []
