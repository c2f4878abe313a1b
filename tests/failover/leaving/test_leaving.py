"""A SEC that leaves while calls wait at it says that it is going, so that every client asks another one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from pathlib import Path

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from sagaline.client import NewSaga
from sagaline.v1 import saga_service_pb2, saga_service_pb2_grpc
from tests.failover.figures.take_over import create_held, one
from tests.failover.hosts import SecHost, SecSettings
from tests.failover.site import PREFIX, Site

pytestmark = pytest.mark.etcd

SECONDS = 30.0
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Two SECs on one etcd."""
    async with Site(
        tmp_path / "site", secs=2, workers=0, members=1, proxied=False, settings=SecSettings(PREFIX, lease_ttl=10)
    ) as site:
        yield site


async def status_when_it_leaves(sec: SecHost, call: Awaitable[object]) -> grpc.StatusCode:
    """Make a call, let the SEC leave when it waits there, and return how the call ends."""
    waiting = asyncio.ensure_future(call)
    done, _ = await asyncio.wait({waiting}, timeout=1.0)
    assert not done, "the call was to wait"
    assert sec.process is not None
    sec.process.signal(signal.SIGTERM)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(waiting, SECONDS)
    assert await sec.process.ended(SECONDS) == 0
    return caught.value.code()


async def test_who_waits_for_a_saga_is_told_to_ask_another_sec(site: Site) -> None:
    """The saga itself was handed off, and goes on there."""
    leaving, _ = site.secs
    (saga_id,) = await create_held(leaving, 1)
    request = saga_service_pb2.WaitSagaRequest(saga_id=saga_id, timeout=Duration(seconds=60))
    async with grpc.aio.insecure_channel(leaving.address) as channel:
        call = saga_service_pb2_grpc.SagaServiceStub(channel).WaitSaga(request, timeout=SECONDS)
        assert await status_when_it_leaves(leaving, call) is UNAVAILABLE


async def test_who_runs_a_saga_is_told_to_ask_another_sec(site: Site) -> None:
    """Created by the call that waits: it is durable, and goes on at the other SEC."""
    leaving, staying = site.secs
    request = saga_service_pb2.RunSagaRequest(timeout=Duration(seconds=60))
    request.saga.CopyFrom(NewSaga(one(), "value", saga_id="run", start_paused=True).full_spec())
    async with grpc.aio.insecure_channel(leaving.address) as channel:
        call = saga_service_pb2_grpc.SagaServiceStub(channel).RunSaga(request, timeout=SECONDS)
        assert await status_when_it_leaves(leaving, call) is UNAVAILABLE
    async with grpc.aio.insecure_channel(staying.address) as channel:
        request.timeout.Clear()
        answer = await saga_service_pb2_grpc.SagaServiceStub(channel).RunSaga(request, timeout=SECONDS)
        assert (answer.saga.saga_id, answer.existed) == ("run", True)


async def test_who_gave_an_order_for_a_saga_of_a_sec_that_hangs_is_told_too(site: Site) -> None:
    """The order is durable, and waits for the owner; the SEC that was asked does not wait for that when it leaves."""
    leaving, hanging = site.secs
    (saga_id,) = await create_held(hanging, 1)
    hanging.stop()
    async with grpc.aio.insecure_channel(leaving.address) as channel:
        request = saga_service_pb2.UnwindSagaRequest(saga_id=saga_id)
        call = saga_service_pb2_grpc.SagaServiceStub(channel).UnwindSaga(request, timeout=SECONDS)
        assert await status_when_it_leaves(leaving, call) is UNAVAILABLE


async def test_who_watches_a_saga_is_told_to_ask_another_sec(site: Site) -> None:
    leaving, _ = site.secs
    (saga_id,) = await create_held(leaving, 1)
    request = saga_service_pb2.WatchSagaRequest(saga_id=saga_id, from_seq=1)
    async with grpc.aio.insecure_channel(leaving.address) as channel:
        watch = saga_service_pb2_grpc.SagaServiceStub(channel).WatchSaga(request, timeout=SECONDS)

        async def to_the_end() -> None:
            async for _ in watch:
                pass

        assert await status_when_it_leaves(leaving, to_the_end()) is UNAVAILABLE
