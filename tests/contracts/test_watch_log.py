"""`read_log` and `watch_log`: a saga's batches from an entry on, without gap and without repetition."""

from __future__ import annotations

import asyncio

import pytest

from sagaline_server.ports.cluster import ClusterStore, LogPart
from sagaline_server.ports.store import Append, Claim, Status, StoreError
from sagaline_server.store.log_tail import BATCHES_PER_PAGE
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import (
    adopted,
    append,
    batches,
    create,
    create_many,
    finish,
    settled,
    write,
    write_all,
)
from tests.contracts.test_hand_off import claim_of, hand_over
from tests.contracts.watching import Watching, batches_of, watching_log
from tests.tcp_proxy import Lose


async def grown(store: ClusterStore, saga_id: str, *entries: int) -> tuple[Claim, list[bytes]]:
    """Create a saga and append batches with so many entries; return its claim and all its batches."""
    claim = await create(store, saga_id)
    seq = 2
    for count in entries:
        await write_all(store, [append(claim, seq, entries=count)])
        seq += count
    return claim, await batches(store, saga_id)


# ---- reading ------------------------------------------------------------------------------------------------


async def test_a_log_is_read_from_the_batch_that_has_the_entry(cluster: Cluster) -> None:
    store = await cluster.open()
    _, all_batches = await grown(store, "s-1", 3, 1, 5)  # entries 1, 2-4, 5, 6-10
    await grown(store, "s-1.x", 1, 1)

    for from_seq, skipped in ((1, 0), (2, 1), (3, 1), (4, 1), (5, 2), (6, 3), (9, 3), (10, 3), (11, 4), (1000, 4)):
        assert list(await store.read_log("s-1", from_seq, 100)) == all_batches[skipped:], from_seq


async def test_a_page_of_a_log_has_as_many_batches_as_were_asked_for(cluster: Cluster) -> None:
    store = await cluster.open()
    _, all_batches = await grown(store, "s-1", 3, 1, 5)

    for from_seq, limit, expected in (
        (1, 1, [0]),
        (1, 2, [0, 1]),
        (3, 2, [1, 2]),
        (5, 1, [2]),
        (5, 2, [2, 3]),
        (6, 9, [3]),
    ):
        page = await store.read_log("s-1", from_seq, limit)
        assert list(page) == [all_batches[index] for index in expected]


async def test_a_long_log_is_read_page_by_page(cluster: Cluster) -> None:
    store = await cluster.open()
    _, all_batches = await grown(store, "s-1", *[1] * 40)

    assert list(await store.read_log("s-1", 1, 41)) == list(await store.read_log("s-1", 1, 10_000)) == all_batches
    assert [batch for start in range(1, 42, 10) for batch in await store.read_log("s-1", start, 10)] == all_batches


async def test_large_batches_are_read_too(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    for seq in range(2, 8):
        await write_all(store, [append(claim, seq, filler=1_000_000)])

    assert list(await store.read_log("s-1", 2, 100)) == (await batches(store, "s-1"))[1:]


async def test_of_a_log_that_is_not_there_nothing_is_read(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    assert list(await store.read_log("s-2", 1, 10)) == []
    await write_all(store, [finish(claim, 2)])
    assert len(await store.read_log("s-1", 1, 10)) == 2
    await store.remove_finished(["s-1"], keep_summary=True)
    assert list(await store.read_log("s-1", 1, 10)) == []


async def test_what_is_no_part_of_a_log_is_refused(cluster: Cluster) -> None:
    store = await cluster.open()
    for saga_id, from_seq, limit in (("s-1", 0, 1), ("s-1", 1, 0), ("a/b", 1, 1)):
        with pytest.raises(ValueError, match=r"entries count|page of 0|no saga id"):
            await store.read_log(saga_id, from_seq, limit)
    with pytest.raises(ValueError, match="entries count"):
        await anext(store.watch_log("s-1", 0))


# ---- watching -----------------------------------------------------------------------------------------------


async def test_a_log_is_followed_to_its_end(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, all_batches = await grown(store, "s-1", 1)
    async with watching_log(store, "s-1") as watch:
        assert await watch.next() == LogPart(tuple(all_batches), is_done=False)
        one = append(claim, 3, entries=4)
        await write_all(store, [one])
        assert await batches_of(watch, 1) == [one.batch]
        last = finish(claim, 7)
        await write_all(store, [last])
        parts = await watch.rest()
    assert [batch for part in parts for batch in part.batches] == [last.batch]
    assert [part.is_done for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_a_log_is_followed_from_the_batch_that_has_the_entry(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, all_batches = await grown(store, "s-1", 3, 1)  # entries 1, 2-4, 5
    expected = append(claim, 6, entries=3)
    for from_seq, skipped in ((1, 0), (3, 1), (4, 1), (5, 2)):
        async with watching_log(store, "s-1", from_seq) as watch:
            assert await batches_of(watch, len(all_batches) - skipped) == all_batches[skipped:]
    async with watching_log(store, "s-1", 6) as next_one, watching_log(store, "s-1", 8) as later_one:
        waiting = [asyncio.create_task(batches_of(watch, 1)) for watch in (next_one, later_one)]
        await asyncio.sleep(0)
        await write_all(store, [expected])
        assert [await task for task in waiting] == [[expected.batch]] * 2


async def test_a_log_is_followed_whoever_writes_it(shared: Cluster) -> None:
    first, second, third = [await shared.open(f"sec-{number}") for number in range(3)]
    claim = await create(first, "s-1")
    appends: list[Append] = []

    async def write(store: ClusterStore, claim: Claim) -> None:
        appends.append(append(claim, len(appends) + 2))
        await write_all(store, [appends[-1]])

    async with watching_log(third, "s-1") as elsewhere, watching_log(first, "s-1") as here:
        await write(first, claim)
        await hand_over(first, second, claim)
        claim = await claim_of(second, "s-1")
        await write(second, claim)
        await shared.crash(second)
        await write(third, await adopted(third, "s-1"))
        for watch in (elsewhere, here):
            assert (await batches_of(watch, 4))[1:] == [one.batch for one in appends]


async def test_many_batches_written_at_once_come_in_order(cluster: Cluster) -> None:
    store = await cluster.open()
    claims = await create_many(store, [f"s-{number}" for number in range(5)])
    rounds = [[append(claim, seq) for claim in claims] for seq in range(2, 30)]
    async with watching_log(store, "s-3", 2) as watch:
        following = asyncio.create_task(batches_of(watch, 28))
        for each in rounds:
            await write_all(store, each)
        assert await following == [each[3].batch for each in rounds]


async def test_a_reader_that_is_too_slow_misses_nothing(shared: Cluster) -> None:
    store = await shared.open()
    claim = await create(store, "s-1")
    appends = [append(claim, seq) for seq in range(2, BATCHES_PER_PAGE + 50)]
    async with watching_log(store, "s-1", 1) as watch:
        await batches_of(watch, 1)
        following = asyncio.create_task(watch.next())
        for one in appends:
            await write_all(store, [one])
        found = [*(await following).batches]
        found += await batches_of(watch, len(appends) - len(found))
    assert found == [one.batch for one in appends]


async def test_a_log_longer_than_a_page_is_followed(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    appends = [append(claim, seq) for seq in range(2, BATCHES_PER_PAGE + 10)]
    for one in appends:
        await write_all(store, [one])
    await write_all(store, [finish(claim, len(appends) + 2)])
    async with watching_log(store, "s-1", 2) as watch:
        parts = await watch.rest()
    assert [batch for part in parts for batch in part.batches][:-1] == [one.batch for one in appends]
    assert [part.is_done for part in parts] == [False] * (len(parts) - 1) + [True]


async def test_a_saga_that_has_ended_is_told_at_once(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, all_batches = await grown(store, "s-1", 1)
    await write_all(store, [finish(claim, 3)])
    all_batches = await batches(store, "s-1")

    for from_seq, skipped in ((1, 0), (3, 2), (4, 3), (50, 3)):
        async with watching_log(store, "s-1", from_seq) as watch:
            assert await watch.rest() == [LogPart(tuple(all_batches[skipped:]), is_done=True)]


async def test_of_a_log_that_was_removed_only_the_end_is_told(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await write_all(store, [finish(claim, 2)])
    await store.remove_finished(["s-1"], keep_summary=True)
    async with watching_log(store, "s-1") as watch:
        assert await watch.rest() == [LogPart((), is_done=True)]


async def test_a_log_that_is_not_there_ends_without_a_part(cluster: Cluster) -> None:
    store = await cluster.open()
    async with watching_log(store, "s-1") as watch:
        assert await watch.rest() == []


async def test_a_saga_that_is_removed_as_soon_as_it_has_ended_is_followed_to_its_end(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    last = finish(claim, 2)
    async with watching_log(store, "s-1") as watch:
        await batches_of(watch, 1)
        following = asyncio.create_task(watch.rest())
        await asyncio.sleep(0)
        await write_all(store, [last])
        parts = await following
    assert parts[-1].is_done
    assert [batch for part in parts for batch in part.batches] == [last.batch]


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_what_was_written_is_told_though_the_writer_did_not_hear_that_it_was(
    cluster: Cluster, what: Lose
) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    heard, unheard = append(claim, 2), append(claim, 3)
    async with watching_log(store, "s-1", 2) as watch:
        following = asyncio.create_task(batches_of(watch, 1))
        await asyncio.sleep(0)
        await write_all(store, [heard])
        assert await following == [heard.batch]
        cluster.lose(store, what)
        assert (await write(store, unheard)).status is Status.UNKNOWN
        await settled(store, [unheard])
        assert await batches_of(watch, 1) == [unheard.batch]


async def test_a_watch_of_a_closed_store_is_an_error(cluster: Cluster) -> None:
    store = await cluster.open()
    await create(store, "s-1")
    watch = Watching(store.watch_log("s-1", 1))
    await batches_of(watch, 1)
    waiting = asyncio.create_task(watch.next())
    await asyncio.sleep(0)

    await store.close()

    with pytest.raises(StoreError, match="closed"):
        await waiting
