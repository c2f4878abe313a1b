"""Reading: one saga whole, pages of many, and what is left when finished ones are removed."""

from __future__ import annotations

import msgspec
import pytest

from sagaline_server.ports.store import ListQuery, SagaStore, Status
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import (
    append,
    batches,
    create,
    create_many,
    done,
    finish,
    new_saga,
    owned,
    write,
    write_all,
)


async def pages(store: SagaStore, query: ListQuery) -> list[list[str]]:
    """Read a whole list page by page; the ids of each page."""
    found: list[list[str]] = []
    while True:
        page = await store.list_heads(query)
        found.append([head.saga_id for head in page])
        if len(page) < query.limit:
            return found
        query = msgspec.structs.replace(query, after_id=page[-1].saga_id)


async def test_a_saga_that_is_not_there_is_none(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-10")
    assert await store.read("s-1") is None


async def test_a_long_log_is_read_whole_and_in_order(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    neighbour = await create(store, "s-1.a")
    appends = [append(claim, seq) for seq in range(2, 300)]
    await write_all(store, [append(neighbour, 2)])
    for each in appends:
        await write_all(store, [each])

    assert (await batches(store, "s-1"))[1:] == [each.batch for each in appends]


async def test_large_batches_are_read_whole(cluster: Cluster) -> None:
    """More than fits in any one answer."""
    store = await cluster.open()
    claim = await create(store, "s-1")
    for seq in range(2, 10):
        await write_all(store, [append(claim, seq, filler=1_000_000)])
    assert sum(len(batch) for batch in await batches(store, "s-1")) > 8_000_000


async def test_lists_are_in_the_order_of_the_bytes_of_ids(cluster: Cluster) -> None:
    store = await cluster.open()
    ids = ["B", "Z9", "a", "a-1", "a.b", "a0", "a~", "aa", "b", "0", "00"]
    await create_many(store, ids)

    (page,) = await pages(store, ListQuery())

    assert page == sorted(ids, key=str.encode)


async def test_pages_follow_each_other_without_gap_or_repetition(cluster: Cluster) -> None:
    store = await cluster.open()
    ids = [f"s-{number:03}" for number in range(100)]
    await create_many(store, ids)

    found = await pages(store, ListQuery(limit=40))

    assert [len(page) for page in found] == [40, 40, 20]
    assert [saga_id for page in found for saga_id in page] == ids


async def test_a_page_starts_after_an_id_that_need_not_be_there(cluster: Cluster) -> None:
    store = await cluster.open()
    await create_many(store, ["a", "c", "e"])
    for after_id, expected in (("", "ace"), ("a", "ce"), ("b", "ce"), ("e", ""), ("x/../y", ""), ("\x00", "ace")):
        page = await store.list_heads(ListQuery(after_id=after_id))
        assert "".join(head.saga_id for head in page) == expected


async def test_a_head_says_what_is_stored(cluster: Cluster) -> None:
    store = await cluster.open()
    first, second = new_saga("s-1"), new_saga("s-2")
    claims = [result.claim for result in await store.commit([first, second])]
    assert claims[1] is not None
    await write_all(store, [finish(claims[1], 2)])

    running, finished = await store.list_heads(ListQuery())

    assert (running.record, running.done) == (first.record, None)
    assert running.owner == await owned(store, "s-1")
    assert (finished.record, finished.done, finished.owner) == (second.record, done("s-2"), None)


async def test_lists_are_filtered(cluster: Cluster) -> None:
    store = await cluster.open()
    trips = await create_many(store, [f"s-{number:03}" for number in range(0, 120, 2)], "trip")
    others = await create_many(store, [f"s-{number:03}" for number in range(1, 120, 2)], "provision")
    await write_all(store, [finish(claim, 2) for claim in (*trips[::3], *others[::3])])

    finished = [*trips[::3], *others[::3]]
    unfinished = [claim for claim in (*trips, *others) if claim not in finished]
    for query, expected in (
        (ListQuery(graph_name="trip"), trips),
        (ListQuery(graph_name="trip", unfinished=False), trips[::3]),
        (ListQuery(graph_name="provision", unfinished=True), [claim for claim in others if claim in unfinished]),
        (ListQuery(unfinished=True), unfinished),
        (ListQuery(unfinished=False), finished),
        (ListQuery(graph_name="tri"), []),
    ):
        found = await pages(store, msgspec.structs.replace(query, limit=7))
        assert [saga_id for page in found for saga_id in page] == sorted(claim.saga_id for claim in expected)
        assert all(len(page) == 7 for page in found[:-1])


async def test_a_page_of_nothing_is_refused(cluster: Cluster) -> None:
    store = await cluster.open()
    with pytest.raises(ValueError, match="page"):
        await store.list_heads(ListQuery(limit=0))


async def test_the_log_of_a_finished_saga_is_removed_and_its_summary_kept(cluster: Cluster) -> None:
    store = await cluster.open()
    finished, running = await create_many(store, ["s-1", "s-1.x"])
    await write_all(store, [finish(finished, 2), append(running, 2)])

    await store.remove_finished(["s-1.x", "s-1", "s-1", "unknown"], keep_summary=True)

    stored = await store.read("s-1")
    assert stored is not None
    assert (stored.batches, stored.done, stored.owner) == ((), done("s-1"), None)
    assert len(await batches(store, "s-1.x")) == 2
    assert [head.saga_id for head in await store.list_heads(ListQuery(unfinished=False))] == ["s-1"]
    await store.remove_finished(["s-1"], keep_summary=True)
    assert await store.read("s-1") == stored


async def test_a_finished_saga_is_removed_whole_and_its_id_is_free_again(cluster: Cluster) -> None:
    store = await cluster.open()
    finished, running = await create_many(store, ["s-1", "s-2"])
    await write_all(store, [finish(finished, 2), append(running, 2)])

    await store.remove_finished(["s-1", "s-2"], keep_summary=False)

    assert await store.read("s-1") is None
    assert [head.saga_id for head in await store.list_heads(ListQuery())] == ["s-2"]
    assert (await write(store, append(finished, 3))).status is Status.FENCED
    claim = await create(store, "s-1")
    assert claim.epoch == 1
    await write_all(store, [append(claim, 2), append(running, 3)])


async def test_more_can_be_removed_than_one_transaction_holds(cluster: Cluster) -> None:
    store = await cluster.open()
    ids = [f"s-{number:03}" for number in range(120)]
    claims = await create_many(store, ids)
    await write_all(store, [finish(claim, 2) for claim in claims if claim.saga_id != "s-050"])

    await store.remove_finished(ids, keep_summary=False)

    assert [head.saga_id for head in await store.list_heads(ListQuery())] == ["s-050"]


async def test_of_an_id_that_is_another_saga_by_now_nothing_is_removed(cluster: Cluster) -> None:
    """With the summaries given, only sagas that ended so are removed: an id may have been used again."""
    store = await cluster.open()
    one, two, _ = await create_many(store, ["s-1", "s-2", "s-3"])
    await write_all(store, [finish(one, 2), finish(two, 2)])
    dones = {"s-1": done("s-1"), "s-2": b"of another", "s-3": b""}

    for keep_summary in (True, False):
        await store.remove_finished(["s-1", "s-2", "s-3", "unknown"], keep_summary=keep_summary, dones=dones)
        assert [len(await batches(store, saga_id)) for saga_id in ("s-2", "s-3")] == [2, 1]

    assert await store.read("s-1") is None
    await store.remove_finished(["s-2"], keep_summary=False, dones={})
    assert await store.read("s-2") is not None


async def test_many_sagas_are_read_in_the_order_in_which_they_are_asked_for(cluster: Cluster) -> None:
    store = await cluster.open()
    await create_many(store, [f"s-{i}" for i in range(40)])
    ids = ["s-7", "nobody", *(f"s-{i}" for i in range(39, -1, -1))]

    stored = await store.read_many(ids)

    assert [None if saga is None else saga.saga_id for saga in stored] == ["s-7", None, *ids[2:]]
    assert list(stored) == [await store.read(saga_id) for saga_id in ids]
    assert list(await store.read_many([])) == []


async def test_many_sagas_that_are_too_long_for_one_answer_are_read_all_the_same(cluster: Cluster) -> None:
    store = await cluster.open()
    ids = [f"s-{i}" for i in range(12)]
    for saga_id in ids:
        assert (await write(store, new_saga(saga_id, filler=900_000))).status is Status.DONE
    claim = (await write(store, new_saga("long"))).claim
    assert claim is not None
    for seq in range(2, 300):
        await write_all(store, [append(claim, seq)])

    stored = await store.read_many([*ids, "long", "nobody"])

    assert list(stored) == [await store.read(saga_id) for saga_id in (*ids, "long", "nobody")]
    assert stored[-2] is not None
    assert len(stored[-2].batches) == 299
