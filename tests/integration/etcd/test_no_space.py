"""etcd raises its alarm for want of space: it refuses every put, and the SECs wait, lose nothing, and go on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from aetcd import rpc

from sagaline_server.ports.store import Status, StoreError
from tests.contracts.sagas import append, batches, create, finish, insist, new_saga, settled, write_all
from tests.etcd_server import EtcdServer
from tests.integration.etcd.conftest import OpenStore

pytestmark = pytest.mark.etcd


@asynccontextmanager
async def no_space(server: EtcdServer) -> AsyncIterator[None]:
    """Raise the alarm for as long as the context lasts."""
    async with grpc.aio.insecure_channel(server.endpoint) as channel:
        alarm = rpc.MaintenanceStub(channel).Alarm

        async def order(action: int) -> None:
            await alarm(rpc.AlarmRequest(action=action, alarm=rpc.NOSPACE), timeout=30)

        await order(rpc.AlarmRequest.ACTIVATE)
        try:
            yield
        finally:
            await order(rpc.AlarmRequest.DEACTIVATE)


async def test_nothing_is_lost_or_done_twice(open_store: OpenStore, own_etcd: Callable[..., EtcdServer]) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    claim, ended = await create(store, "s-1"), await create(store, "ended")
    await write_all(store, [finish(ended, 2)])
    one, other = append(claim, 2), new_saga("s-2")
    async with no_space(server):
        results = await store.commit([one, other])
        assert [result.status for result in results] == [Status.UNKNOWN] * 2
        assert "database space exceeded" in results[0].error
        with pytest.raises(StoreError, match="database space exceeded"):
            await store.put_control("s-1", "01", b"x")
        # The lease lives on, so nobody adopts; what is there can be read; and room can be made.
        (sec,) = await store.list_secs()
        assert sec.incarnation == store.incarnation
        assert len(await batches(store, "s-1")) == 1
        await store.remove_finished(["ended"], keep_summary=False)
        assert await store.read("ended") is None
    assert [result.status for result in await settled(store, [one, other])] == [Status.DONE] * 2
    assert (await batches(store, "s-1"))[1:] == [one.batch]
    assert await insist(lambda: store.put_control("s-1", "01", b"x"))
