"""`SagaStore.commit`: what is written, what is refused, and that each write stands alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
import pytest

from sagaline_server.ports.store import Append, Claim, NewSaga, SagaStore, Status, Write, WriteRefused
from sagaline_server.store.checks import WRITE_BYTES_MAX, saga_of
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import (
    append,
    batches,
    create,
    create_many,
    finish,
    new_saga,
    owned,
    write,
    write_all,
)


async def test_a_new_saga_is_claimed_at_epoch_one(cluster: Cluster) -> None:
    store = await cluster.open()
    saga = new_saga("s-1")

    result = await write(store, saga)

    assert result.status is Status.DONE
    assert result.claim is not None
    assert (result.claim.saga_id, result.claim.epoch) == ("s-1", 1)
    stored = await store.read("s-1")
    assert stored is not None
    assert (stored.record, stored.batches, stored.done) == (saga.record, (saga.batch,), None)
    assert stored.owner is not None
    assert (stored.owner.sec_id, stored.owner.incarnation) == ("sec-a", store.incarnation)
    assert (stored.owner.epoch, stored.owner.revision) == (1, result.claim.revision)


async def test_appends_are_read_back_in_the_order_of_their_numbers(cluster: Cluster) -> None:
    store = await cluster.open()
    first = new_saga("s-1")
    claim = (await write(store, first)).claim
    assert claim is not None

    appends = [append(claim, seq) for seq in (2, 9, 10, 100, 1000)]
    for each in appends:
        await write_all(store, [each])

    assert await batches(store, "s-1") == [first.batch, *(each.batch for each in appends)]


async def test_revisions_grow_from_write_to_write(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    other = await create(store, "s-2")

    revisions = [[claim.revision], [other.revision]]
    for seq in (2, 3):
        for its, each in zip(revisions, (claim, other), strict=True):
            its.append((await write(store, append(each, seq))).revision)

    in_order = (
        revisions if cluster.parts > 1 else [[revision for both in zip(*revisions, strict=True) for revision in both]]
    )
    assert in_order == [sorted(set(its)) for its in in_order]


async def test_the_last_append_ends_ownership_and_leaves_a_summary(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    last = finish(claim, 2)

    assert (await write(store, last)).status is Status.DONE

    stored = await store.read("s-1")
    assert stored is not None
    assert (stored.owner, stored.done) == (None, last.done)
    assert len(stored.batches) == 2
    assert await store.list_owned() == []


async def test_nothing_is_appended_to_a_finished_saga(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await write_all(store, [finish(claim, 2)])

    assert (await write(store, append(claim, 3))).status is Status.FENCED
    assert (await write(store, finish(claim, 3))).status is Status.FENCED
    assert len(await batches(store, "s-1")) == 2


async def test_an_id_that_is_taken_is_answered_with_the_record_there_is(cluster: Cluster) -> None:
    store = await cluster.open()
    first = new_saga("s-1", "trip")
    await write_all(store, [first])

    result = await write(store, new_saga("s-1", "another"))

    assert (result.status, result.record, result.claim) == (Status.EXISTS, first.record, None)
    assert await batches(store, "s-1") == [first.batch]


async def test_the_id_of_a_finished_saga_is_taken_too(cluster: Cluster) -> None:
    store = await cluster.open()
    first = new_saga("s-1")
    claim = (await write(store, first)).claim
    assert claim is not None
    await write_all(store, [finish(claim, 2)])

    assert (await write(store, new_saga("s-1"))).record == first.record
    await store.remove_finished(["s-1"], keep_summary=True)
    result = await write(store, new_saga("s-1"))
    assert (result.status, result.record) == (Status.EXISTS, first.record)


async def test_an_append_under_another_claim_is_fenced(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")

    wrong = msgspec.structs.replace(claim, revision=claim.revision + 1)

    assert (await write(store, append(wrong, 2))).status is Status.FENCED
    assert (await write(store, append(Claim("never-created", 1, 1), 2))).status is Status.FENCED
    assert len(await batches(store, "s-1")) == 1


async def test_a_refused_write_does_not_hinder_the_others(cluster: Cluster) -> None:
    store = await cluster.open()
    good, fenced, finished, ending, _ = await create_many(store, ["good", "fenced", "finished", "ending", "taken"])
    await write_all(store, [finish(finished, 2)])

    results = await store.commit(
        [
            new_saga("taken"),
            append(good, 2),
            append(msgspec.structs.replace(fenced, revision=fenced.revision + 1), 2),
            new_saga("new"),
            append(finished, 3),
            finish(ending, 2),
        ]
    )

    assert [result.status for result in results] == [
        Status.EXISTS,
        Status.DONE,
        Status.FENCED,
        Status.DONE,
        Status.FENCED,
        Status.DONE,
    ]
    assert len(await batches(store, "good")) == 2
    assert len(await batches(store, "fenced")) == 1
    assert (await owned(store, "new")).epoch == 1
    assert [saga.saga_id for saga in await store.list_owned()] == ["fenced", "good", "new", "taken"]


async def test_a_commit_may_have_more_writes_than_one_transaction_holds(cluster: Cluster) -> None:
    store = await cluster.open()
    claims = await create_many(store, [f"s-{number:03}" for number in range(150)])
    fenced = {7, 70, 140}
    writes = [
        append(msgspec.structs.replace(claim, revision=claim.revision + 1000) if number in fenced else claim, 2)
        if number % 3
        else finish(claim, 2)
        for number, claim in enumerate(claims)
    ]

    results = await store.commit([*writes, *(new_saga(f"t-{number:03}") for number in range(60))])

    for number, result in enumerate(results):
        assert result.status is (Status.FENCED if number in fenced else Status.DONE)
    still_owned = await store.list_owned()
    assert len(still_owned) == 150 - 50 + 60
    lengths = [len(await batches(store, f"s-{number:03}")) for number in (0, 7, 70, 71, 140, 149)]
    assert lengths == [2, 1, 1, 2, 1, 2]


async def test_a_commit_may_be_larger_than_one_request(cluster: Cluster) -> None:
    store = await cluster.open()
    sagas = [new_saga(f"s-{number}", filler=900_000) for number in range(4)]

    await write_all(store, sagas)

    for saga in sagas:
        stored = await store.read(saga.saga_id)
        assert stored is not None
        assert stored.record == saga.record


async def test_a_write_of_the_greatest_size_is_stored(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    large = append(claim, 2, filler=WRITE_BYTES_MAX - 100)

    await write_all(store, [large])

    assert (await batches(store, "s-1"))[1] == large.batch


async def test_a_write_that_is_too_large_is_refused_by_name_before_anything_is_written(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")

    with pytest.raises(ValueError, match=r"'s-1'.*bytes"):
        await store.commit([new_saga("s-2"), append(claim, 2, filler=WRITE_BYTES_MAX)])

    assert await store.read("s-2") is None


WrongWrites = Callable[[Claim], list[Append | NewSaga]]


def _twice(claim: Claim) -> list[Append | NewSaga]:
    return [append(claim, 2), append(claim, 3)]


def _foreign_writer(claim: Claim) -> list[Append | NewSaga]:
    return [msgspec.structs.replace(append(claim, 2), writer_id=b"x" * 16)]


def _short_writer(claim: Claim) -> list[Append | NewSaga]:
    return [msgspec.structs.replace(append(claim, 2), writer_id=b"x", batch=b"\x0a\x01x")]


def _no_batch(claim: Claim) -> list[Append | NewSaga]:
    return [msgspec.structs.replace(append(claim, 2), batch=b"\xff\xff")]


def _other_keys(claim: Claim) -> list[Append | NewSaga]:
    return [new_saga("s-1/2")]


def _no_id(claim: Claim) -> list[Append | NewSaga]:
    return [new_saga("")]


def _before_the_first(claim: Claim) -> list[Append | NewSaga]:
    return [append(claim, 0)]


@pytest.mark.parametrize(
    "wrong",
    [_twice, _foreign_writer, _short_writer, _no_batch, _other_keys, _no_id, _before_the_first],
)
async def test_what_no_store_could_keep_is_refused(cluster: Cluster, wrong: WrongWrites) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")

    with pytest.raises(WriteRefused, match="saga") as refused:
        await store.commit([new_saga("s-2"), *wrong(claim)])

    assert set(refused.value.saga_ids) == {saga_of(write) for write in wrong(claim)}
    assert await store.read("s-2") is None
    assert len(await batches(store, "s-1")) == 1


async def test_all_that_are_refused_are_named_and_the_others_can_be_sent_again(cluster: Cluster) -> None:
    store = await cluster.open()
    first, second, third = await create_many(store, ["s-1", "s-2", "s-3"])
    good: list[Write] = [append(first, 2), new_saga("s-4")]
    large, odd = append(second, 2, filler=WRITE_BYTES_MAX), append(third, 0)

    with pytest.raises(WriteRefused) as refused:
        await store.commit([large, *good, odd])

    assert refused.value.saga_ids == ("s-2", "s-3")
    assert len(await batches(store, "s-1")) == 1
    await write_all(store, good)


async def test_two_writers_at_one_number_are_a_programming_error(cluster: Cluster) -> None:
    """And the other writes of the commit are settled all the same."""
    store = await cluster.open()
    claim, other = await create_many(store, ["s-1", "s-2"])
    first = append(claim, 2)
    await write_all(store, [first])

    beside: list[Write] = [append(other, 2), new_saga("s-3")]

    with pytest.raises(WriteRefused, match="'s-1'") as refused:
        await store.commit([append(claim, 2), *beside])

    assert refused.value.saga_ids == ("s-1",)
    await write_all(store, beside)
    assert (await batches(store, "s-1"))[1:] == [first.batch]
    assert len(await batches(store, "s-2")) == 2
    assert await store.read("s-3") is not None


async def test_commits_may_run_at_once(cluster: Cluster) -> None:
    store = await cluster.open()
    claims = await create_many(store, [f"s-{number:02}" for number in range(40)])

    async def drive(some: list[Claim]) -> None:
        for seq in range(2, 6):
            await write_all(store, [append(claim, seq) for claim in some])

    await asyncio.gather(*(drive(claims[start : start + 10]) for start in range(0, 40, 10)))

    for claim in claims:
        assert len(await batches(store, claim.saga_id)) == 5


async def test_an_empty_commit_does_nothing(cluster: Cluster) -> None:
    store = await cluster.open()
    assert list(await store.commit([])) == []


async def test_a_closed_store_leaves_writes_unknown(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    await store.close()

    results = await store.commit([append(claim, 2), new_saga("s-2")])

    assert [result.status for result in results] == [Status.UNKNOWN] * 2
    assert await _read_anew(cluster, "s-1") == 1


async def _read_anew(cluster: Cluster, saga_id: str) -> int:
    store: SagaStore = await cluster.open()
    return len(await batches(store, saga_id))
