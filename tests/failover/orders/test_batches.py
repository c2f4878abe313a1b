"""Counts and batches over sagas of two owners: asked of one SEC, on a real etcd; and retention there."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from sagaline.client import Client
from sagaline.v1 import saga_pb2, saga_service_pb2
from tests.etcd_server import etcd_server
from tests.failover.orders.test_orders import SECONDS, one, secs

__all__ = ["etcd_server", "secs"]

RUNNING, UNWOUND = saga_pb2.SAGA_STATE_RUNNING, saga_pb2.SAGA_STATE_UNWOUND
pytestmark = pytest.mark.etcd


async def test_a_batch_reaches_the_sagas_of_every_owner(secs: list[str]) -> None:
    """Half of the sagas are another SEC's; each is paused, resumed and unwound, and a second batch changes nothing."""
    graph = one().build()
    async with Client(secs[0]) as first, Client(secs[1]) as second:
        names = [f"batch-{number:02}" for number in range(20)]
        for client, name in zip(itertools.cycle((first, second)), names, strict=False):
            await client.create(graph, "x", saga_id=name, labels={"batch": "yes"})
        await first.create(graph, "x", saga_id="other")
        owners = {(await first.get(name)).owner for name in names}
        assert owners == {"sec-1", "sec-2"}
        labels = {"batch": "yes"}
        async with asyncio.timeout(SECONDS):
            for control, paused in (
                (saga_service_pb2.BATCH_CONTROL_PAUSE, True),
                (saga_service_pb2.BATCH_CONTROL_RESUME, False),
            ):
                pages = [page async for page in first.batch_control(control, actor="ann", labels=labels)]
                assert [saga_id for page in pages for saga_id in page.saga_ids] == names
                assert {(await second.get(name)).paused for name in names} == {paused}
            pages = [page async for page in second.batch_control(saga_service_pb2.BATCH_CONTROL_UNWIND, labels=labels)]
            assert [saga_id for page in pages for saga_id in page.saga_ids] == names
        assert await first.count(labels=labels) == {UNWOUND: 20}
        assert await second.count() == {RUNNING: 1, UNWOUND: 20}
        pages = [page async for page in second.batch_control(saga_service_pb2.BATCH_CONTROL_UNWIND, labels=labels)]
        assert [len(page.saga_ids) + len(page.refused) for page in pages] == [0]
