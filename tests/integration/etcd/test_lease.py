"""The lease: how long an incarnation may serve, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sagaline_server.ports.store import Status
from sagaline_server.store.etcd.channel import EtcdOptions
from sagaline_server.store.etcd.store import EtcdStore
from tests.contracts.sagas import append, create, owned, write, write_all
from tests.etcd_server import EtcdServer
from tests.integration.etcd.conftest import ManualClock, OpenStore, ProxyTo

pytestmark = pytest.mark.etcd


async def lost(store: EtcdStore) -> None:
    """Wait until the store knows that its lease is gone."""
    assert store._keeper is not None
    async with asyncio.timeout(20):
        await store._keeper.lost.wait()


async def test_serving_ends_a_margin_before_the_lease_counted_from_when_the_grant_was_sent(
    open_store: OpenStore,
) -> None:
    clock = ManualClock()
    store = await open_store(clock=clock, lease_seconds=60, lease_margin=5.0)
    assert store.serving_until == clock.now + 60 - 5


async def test_the_granted_length_counts_and_not_the_one_asked_for(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    """etcd grants no lease shorter than its elections need."""
    clock = ManualClock()
    store = await open_store(clock=clock, lease_seconds=1, lease_margin=0.25)
    _, metadata = independent.get(f"{prefix}/sec/sec-a")
    granted = independent.get_lease_info(metadata.lease_id).grantedTTL

    assert granted > 1
    assert store.serving_until == clock.now + granted - 0.25


async def test_a_renewal_moves_the_end_counted_from_when_it_was_sent(open_store: OpenStore) -> None:
    clock = ManualClock()
    store = await open_store(clock=clock, lease_seconds=2, lease_margin=0.5)
    before = store.serving_until
    assert before == 1000 + 2 - 0.5

    clock.now += 100
    await clock.next_reading()  # the renewal is sent
    clock.now += 100
    await clock.next_reading()  # the one after it is sent, so the first was answered

    assert store.serving_until == 1100 + 2 - 0.5


async def test_the_end_passes_when_renewals_go_unanswered_though_the_saga_is_still_owned(
    open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo
) -> None:
    clock = ManualClock()
    proxy = await proxy_to(etcd_server.endpoint)
    store = await open_store(clock=clock, endpoints=(proxy.endpoint,), lease_seconds=3, lease_margin=1.0)
    claim = await create(store, "s-1")
    proxy.hang()
    clock.now += 10
    await clock.next_reading()  # a renewal is sent
    await clock.next_reading()  # and again, because it was not answered
    assert store.serving_until == 1000 + 3 - 1

    proxy.flow()
    await clock.next_reading()  # the next one: this one was answered
    assert store.serving_until == 1010 + 3 - 1
    await write_all(store, [append(claim, 2)])


async def test_a_lease_that_is_revoked_ends_the_incarnation(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    store = await open_store(lease_seconds=2, lease_margin=0.5)
    claim = await create(store, "s-1")
    _, metadata = independent.get(f"{prefix}/sec/sec-a")

    independent.revoke_lease(metadata.lease_id)

    assert (await write(store, append(claim, 2))).status is Status.FENCED
    await lost(store)
    assert store.serving_until == 0.0
    assert await store.list_secs() == []


async def test_a_lease_that_is_kept_outlives_its_length(open_store: OpenStore, independent: Any, prefix: str) -> None:
    clock = ManualClock()
    store = await open_store(clock=clock, lease_seconds=2, lease_margin=0.5)
    claim = await create(store, "s-1")
    _, metadata = independent.get(f"{prefix}/sec/sec-a")
    for _ in range(4):  # renewals, a third of two seconds apart
        await clock.next_reading()

    assert independent.get_lease_info(metadata.lease_id).TTL > 0
    await write_all(store, [append(claim, 2)])


async def test_a_replaced_incarnation_keeps_its_lease_and_is_fenced_all_the_same(
    open_store: OpenStore, independent: Any, prefix: str
) -> None:
    """A lease that lives proves nothing about ownership."""
    clock = ManualClock()
    old = await open_store(clock=clock, lease_seconds=60)
    claim = await create(old, "s-1")
    new = await open_store(clock=clock, lease_seconds=60)
    (adopted,) = await new.adopt([await owned(new, "s-1")])

    assert adopted is not None
    assert old.serving_until == clock.now + 59
    assert (await write(old, append(claim, 2))).status is Status.FENCED
    await old.close()
    assert [sec.incarnation for sec in await new.list_secs()] == [new.incarnation]
    await write_all(new, [append(adopted, 2)])


async def test_a_margin_that_leaves_nothing_of_the_lease_is_refused() -> None:
    with pytest.raises(ValueError, match="margin"):
        EtcdOptions(("127.0.0.1:2379",), lease_seconds=3, lease_margin=2.0)
