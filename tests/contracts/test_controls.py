"""Requests for the owner of a saga: put by anybody, and consumed by the write that is their effect."""

from __future__ import annotations

import msgspec
import pytest

from sagaline_server.ports.cluster import ClusterStore, StoredControl
from sagaline_server.ports.store import Status
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import append, batches, consume, create, create_many, finish, settled, write, write_all
from tests.tcp_proxy import Lose


async def ids(store: ClusterStore, saga_id: str | None = None) -> list[str]:
    return [control.control_id for control in await store.list_controls(saga_id)]


async def test_requests_are_listed_in_the_order_of_their_ids(cluster: Cluster) -> None:
    store = await cluster.open()
    await create_many(store, ["s-1", "s-2", "s-1.x"])
    for saga_id, control_id in (("s-2", "01"), ("s-1", "02"), ("s-1.x", "04"), ("s-1", "03"), ("s-2", "05")):
        assert await store.put_control(saga_id, control_id, control_id.encode())

    assert await ids(store) == ["01", "02", "03", "04", "05"]
    assert list(await store.list_controls("s-1")) == [
        StoredControl("s-1", "02", b"02"),
        StoredControl("s-1", "03", b"03"),
    ]
    assert await ids(store, "unknown") == []


async def test_a_request_put_again_changes_nothing(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-1")
    assert await store.put_control("s-1", "01", b"first")
    assert await store.put_control("s-1", "01", b"again")
    assert [control.control for control in await store.list_controls("s-1")] == [b"first"]


async def test_there_is_nobody_to_ask_when_a_saga_has_ended_or_never_was(cluster: Cluster) -> None:
    store = await cluster.open()
    await write_all(store, [finish(await create(store, "s-1"), 2)])

    assert not await store.put_control("s-1", "01", b"")
    assert not await store.put_control("s-2", "01", b"")
    assert await ids(store) == []


async def test_an_append_consumes_requests_with_their_effect(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, other = await create_many(store, ["s-1", "s-2"])
    for control_id in ("01", "02", "03"):
        await store.put_control("s-1", control_id, b"x")
        await store.put_control("s-2", control_id, b"x")

    effect = msgspec.structs.replace(append(claim, 2), consumes=("01", "03", "never-put"))
    await write_all(store, [effect, append(other, 2)])

    assert await ids(store, "s-1") == ["02"]
    assert await ids(store, "s-2") == ["01", "02", "03"]
    assert (await batches(store, "s-1"))[1:] == [effect.batch]


async def test_requests_without_effect_are_consumed_without_an_entry(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await store.put_control("s-1", "01", b"x")

    await write_all(store, [consume(claim, "01")])

    assert await ids(store) == []
    assert len(await batches(store, "s-1")) == 1
    await write_all(store, [append(claim, 2)])


async def test_a_saga_that_ends_leaves_no_requests(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, neighbour = await create_many(store, ["s-1", "s-1.x"])
    for control_id in ("01", "02"):
        await store.put_control("s-1", control_id, b"x")
        await store.put_control("s-1.x", control_id, b"x")

    await write_all(store, [msgspec.structs.replace(finish(claim, 2), consumes=("01",))])

    assert await ids(store) == ["01", "02"]
    assert await ids(store, "s-1") == []
    await write_all(store, [append(neighbour, 2)])


async def test_a_fenced_write_consumes_nothing(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await store.put_control("s-1", "01", b"x")
    wrong = msgspec.structs.replace(claim, revision=claim.revision + 1)

    for one in (consume(wrong, "01"), msgspec.structs.replace(append(wrong, 2), consumes=("01",))):
        assert (await write(store, one)).status is Status.FENCED

    assert await ids(store) == ["01"]


async def test_a_write_that_is_a_programming_error_consumes_nothing(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await write_all(store, [append(claim, 2)])
    await store.put_control("s-1", "01", b"x")

    with pytest.raises(ValueError, match="another writer"):
        await store.commit([msgspec.structs.replace(append(claim, 2), consumes=("01",))])

    assert await ids(store) == ["01"]


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_a_consuming_write_sent_again_is_done_once(cluster: Cluster, what: Lose) -> None:
    store = await cluster.open()
    claim, other = await create_many(store, ["s-1", "s-2"])
    await store.put_control("s-1", "01", b"x")
    await store.put_control("s-2", "01", b"x")
    writes = [msgspec.structs.replace(append(claim, 2), consumes=("01",)), consume(other, "01")]
    cluster.lose(store, what)
    statuses = [result.status for result in await store.commit(writes)]
    assert statuses.count(Status.UNKNOWN) == 2 // cluster.parts

    assert [result.status for result in await settled(store, writes)] == [Status.DONE] * 2

    assert await ids(store) == []
    assert len(await batches(store, "s-1")) == 2


async def test_many_requests_are_consumed_by_many_writes(cluster: Cluster) -> None:
    """More deletions than one transaction holds."""
    store = await cluster.open()
    claims = await create_many(store, [f"s-{number}" for number in range(4)])
    control_ids = tuple(f"{number:03}" for number in range(60))
    for claim in claims:
        for control_id in control_ids:
            await store.put_control(claim.saga_id, control_id, b"x")

    await write_all(store, [msgspec.structs.replace(append(claim, 2), consumes=control_ids) for claim in claims])

    assert await ids(store) == []


async def test_requests_that_no_store_could_keep_or_consume_are_refused(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    for control_id in ("", "a/b"):
        with pytest.raises(ValueError, match="no id of a request"):
            await store.put_control("s-1", control_id, b"x")
        with pytest.raises(ValueError, match="no id of a request"):
            await store.commit([consume(claim, control_id)])
    with pytest.raises(ValueError, match="consumes 101"):
        await store.commit([consume(claim, *(f"{number}" for number in range(101)))])
    with pytest.raises(ValueError, match="to end without"):
        await store.commit([msgspec.structs.replace(finish(claim, 2), batch=b"")])


async def test_an_owner_that_is_dead_can_still_be_asked_and_its_heir_reads_it(cluster: Cluster) -> None:
    before = await cluster.open()
    await create(before, "s-1")
    await before.close()
    store = await cluster.open("sec-b")

    assert await store.put_control("s-1", "01", b"x")
    (claim,) = await store.adopt(await store.list_owned())
    assert claim is not None
    assert await ids(store) == ["01"]
    await write_all(store, [consume(claim, "01")])
    assert await ids(store) == []
