"""etcd goes away, hangs, comes back, or is another one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sagaline_server.ports.cluster import HandOff, HandOffFate
from sagaline_server.ports.store import Status, StoreError
from tests.contracts.sagas import (
    append,
    batches,
    create,
    finish,
    insist,
    new_saga,
    owned,
    settled,
    write,
    write_all,
)
from tests.contracts.test_hand_off import claim_of
from tests.etcd_server import EtcdServer
from tests.integration.etcd.conftest import OpenStore, ProxyTo
from tests.tcp_proxy import Lose

pytestmark = pytest.mark.etcd

StartEtcd = Callable[..., EtcdServer]


async def test_writes_are_unknown_while_etcd_is_down_and_done_when_it_is_back(
    open_store: OpenStore, own_etcd: StartEtcd
) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), call_seconds=0.5, lease_seconds=60)
    claim = await create(store, "s-1")
    server.kill()
    one, other = append(claim, 2), new_saga("s-2")

    results = await store.commit([one, other])
    assert [result.status for result in results] == [Status.UNKNOWN] * 2
    assert "UNAVAILABLE" in results[0].error
    with pytest.raises(StoreError):
        await store.read("s-1")

    server.start()
    assert [result.status for result in await settled(store, [one])] == [Status.DONE]
    assert [result.status for result in await settled(store, [other])] == [Status.DONE]
    assert (await batches(store, "s-1"))[1:] == [one.batch]


async def test_what_was_done_survives_that_etcd_is_killed(open_store: OpenStore, own_etcd: StartEtcd) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), lease_seconds=60)
    claims = [await create(store, f"s-{number}") for number in range(5)]
    await write_all(store, [append(claim, 2) for claim in claims])
    server.kill()
    server.start()

    for claim in claims:
        assert [result.status for result in await settled(store, [finish(claim, 3)])] == [Status.DONE]
    assert await store.list_owned() == []


async def test_a_hanging_etcd_leaves_a_write_unknown_and_it_may_still_happen(
    open_store: OpenStore, own_etcd: StartEtcd
) -> None:
    server = own_etcd()
    store = await open_store(endpoints=(server.endpoint,), call_seconds=0.5, lease_seconds=60)
    claim = await create(store, "s-1")
    one = append(claim, 2)
    server.pause()

    result = await write(store, one)
    assert result.status is Status.UNKNOWN
    assert "DEADLINE_EXCEEDED" in result.error

    server.resume()
    assert [result.status for result in await settled(store, [one])] == [Status.DONE]
    assert (await batches(store, "s-1"))[1:] == [one.batch]


async def test_a_store_cannot_be_opened_where_no_etcd_is(open_store: OpenStore) -> None:
    with pytest.raises(StoreError, match="nothing was sent"):
        await open_store(endpoints=("127.0.0.1:1",), call_seconds=0.5)


async def test_an_endpoint_that_is_not_there_is_passed_over(open_store: OpenStore, etcd_server: EtcdServer) -> None:
    store = await open_store(endpoints=("127.0.0.1:1", etcd_server.endpoint))
    await write_all(store, [new_saga("s-1")])


async def test_an_endpoint_that_hangs_is_left_for_the_next_one(
    open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo
) -> None:
    hanging = await proxy_to(etcd_server.endpoint)
    store = await open_store(endpoints=(hanging.endpoint, etcd_server.endpoint), call_seconds=0.5, lease_seconds=60)
    claim = await create(store, "s-1")
    hanging.hang()
    one = append(claim, 2)
    assert (await write(store, one)).status is Status.UNKNOWN

    assert (await write(store, one)).status is Status.DONE
    assert len(await batches(store, "s-1")) == 2
    hanging.flow()


async def test_reads_are_tried_at_another_endpoint_at_once(
    open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo
) -> None:
    breaking = await proxy_to(etcd_server.endpoint)
    store = await open_store(endpoints=(breaking.endpoint, etcd_server.endpoint), lease_seconds=60)
    await create(store, "s-1")
    breaking.lose(Lose.ANSWER)

    assert len(await batches(store, "s-1")) == 1
    assert breaking.lost.is_set()


async def test_another_cluster_is_not_believed(open_store: OpenStore, own_etcd: StartEtcd, proxy_to: ProxyTo) -> None:
    """There the incarnation would be missing, and every write would look fenced."""
    ours, theirs = own_etcd(), own_etcd()
    proxy = await proxy_to(ours.endpoint)
    store = await open_store(endpoints=(proxy.endpoint, theirs.endpoint), call_seconds=0.5, lease_seconds=60)
    claim = await create(store, "s-1")
    proxy.lose(Lose.REQUEST)
    one = append(claim, 2)
    assert (await write(store, one)).status is Status.UNKNOWN

    result = await write(store, one)
    assert (result.status, "another cluster" in result.error) == (Status.UNKNOWN, True)
    assert [result.status for result in await settled(store, [one])] == [Status.DONE]


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_an_opening_of_unknown_outcome_is_settled(
    open_store: OpenStore, etcd_server: EtcdServer, what: Lose, proxy_to: ProxyTo
) -> None:
    """Whatever part of it is lost, the SEC is registered once or not at all."""
    proxy = await proxy_to(etcd_server.endpoint)
    before = await open_store(endpoints=(etcd_server.endpoint,), lease_seconds=60)
    proxy.lose(what)
    with pytest.raises(StoreError):
        await open_store(endpoints=(proxy.endpoint,), lease_seconds=60)  # the grant is lost
    store = await insist(lambda: open_store(endpoints=(proxy.endpoint,), lease_seconds=60))

    assert [sec.incarnation for sec in await insist(store.list_secs)] == [store.incarnation]
    assert store.incarnation > before.incarnation


async def test_an_adoption_of_unknown_outcome_is_an_error_and_the_owners_say_what_became_of_it(
    open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo
) -> None:
    first = await open_store(sec_id="sec-a")
    await create(first, "s-1")
    await first.close()
    proxy = await proxy_to(etcd_server.endpoint)
    store = await open_store(sec_id="sec-b", endpoints=(proxy.endpoint,), lease_seconds=60)
    orphans = await store.list_owned()
    proxy.lose(Lose.ANSWER)
    with pytest.raises(StoreError):
        await store.adopt(orphans)

    (saga,) = await insist(store.list_owned)
    assert (saga.sec_id, saga.incarnation, saga.epoch) == ("sec-b", store.incarnation, 2)


async def test_a_hand_off_whose_history_is_compacted_is_fenced_and_never_carried_out(
    open_store: OpenStore, etcd_server: EtcdServer, proxy_to: ProxyTo, independent: Any
) -> None:
    proxy = await proxy_to(etcd_server.endpoint)
    first = await open_store(sec_id="sec-a", endpoints=(proxy.endpoint,), lease_seconds=60)
    second, third = await open_store(sec_id="sec-b"), await open_store(sec_id="sec-c")
    claim = await create(first, "s-1")
    secs = {sec.sec_id: sec for sec in await first.list_secs()}
    proxy.lose(Lose.ANSWER)
    with pytest.raises(StoreError):
        await first.hand_off([HandOff(claim, b"run")], secs["sec-b"])
    passed_on = HandOff(await claim_of(second, "s-1"), b"run")
    assert list(await second.hand_off([passed_on], secs["sec-c"])) == [HandOffFate.DONE]
    independent.compact(second.revision, physical=True)

    fates = await insist(lambda: first.hand_off([HandOff(claim, b"run")], secs["sec-b"]))

    assert list(fates) == [HandOffFate.FENCED]
    assert (await owned(third, "s-1")).sec_id == "sec-c"
