"""A write of unknown outcome is sent again unchanged, and then it is known what became of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sagaline_server.ports.store import Append, Claim, NewSaga, SagaStore, Status, Write
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import (
    append,
    batches,
    create,
    create_many,
    finish,
    insist,
    new_saga,
    owned,
    settled,
    write,
    write_all,
)
from tests.tcp_proxy import Lose

LOST = pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])


async def lose_and_write(cluster: Cluster, store: SagaStore, what: Lose, writes: list[Write]) -> None:
    """Commit writes whose request or answer is lost; of a store in parts, that of one part."""
    cluster.lose(store, what)
    results = await store.commit(writes)
    unknown = [result for result in results if result.status is Status.UNKNOWN]
    assert unknown
    assert cluster.parts > 1 or len(unknown) == len(writes)
    assert all(result.error for result in unknown)


async def statuses(store: SagaStore, *writes: Write) -> list[Status]:
    return [result.status for result in await settled(store, writes)]


@LOST
async def test_a_creation_sent_again_is_done_once(cluster: Cluster, what: Lose) -> None:
    store = await cluster.open()
    saga = new_saga("s-1")
    await lose_and_write(cluster, store, what, [saga])

    (result,) = await settled(store, [saga])

    assert result.status is Status.DONE
    assert result.claim is not None
    assert await batches(store, "s-1") == [saga.batch]
    owner = await owned(store, "s-1")
    assert (owner.epoch, owner.revision) == (1, result.claim.revision) == (1, result.revision)
    await write_all(store, [append(result.claim, 2)])


@LOST
async def test_an_append_sent_again_is_done_once(cluster: Cluster, what: Lose) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    one = append(claim, 2)
    await lose_and_write(cluster, store, what, [one])

    (result,) = await settled(store, [one])

    assert result.status is Status.DONE
    assert result.revision > claim.revision
    assert (await batches(store, "s-1"))[1:] == [one.batch]
    await write_all(store, [append(claim, 3)])


@LOST
async def test_the_last_append_sent_again_is_done_although_ownership_has_ended(cluster: Cluster, what: Lose) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    last = finish(claim, 2)
    await lose_and_write(cluster, store, what, [last])

    assert await statuses(store, last) == [Status.DONE]

    stored = await store.read("s-1")
    assert stored is not None
    assert (stored.owner, stored.done, stored.batches[1:]) == (None, last.done, (last.batch,))


async def test_the_last_append_is_recognised_when_its_log_is_gone_too(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    last = finish(claim, 2)
    await lose_and_write(cluster, store, Lose.ANSWER, [last])
    await insist(lambda: store.remove_finished(["s-1"], keep_summary=True))

    assert await statuses(store, last) == [Status.DONE]


@LOST
async def test_a_whole_commit_sent_again_is_done_once(cluster: Cluster, what: Lose) -> None:
    store = await cluster.open()
    first, second, third = await create_many(store, ["s-1", "s-2", "s-3"])
    writes: list[Write] = [append(first, 2), finish(second, 2), new_saga("s-4"), append(third, 2)]
    await lose_and_write(cluster, store, what, writes)

    results = await settled(store, writes)

    assert [result.status for result in results] == [Status.DONE] * 4
    for saga_id, length in (("s-1", 2), ("s-2", 2), ("s-3", 2), ("s-4", 1)):
        assert len(await batches(store, saga_id)) == length


async def test_writes_of_which_some_were_done_are_told_apart_when_sent_again(cluster: Cluster) -> None:
    store = await cluster.open()
    first, second = await create_many(store, ["s-1", "s-2"])
    written, not_written = append(first, 2), append(second, 2)
    await lose_and_write(cluster, store, Lose.ANSWER, [written])
    await lose_and_write(cluster, store, Lose.REQUEST, [not_written])

    results = await settled(store, [not_written, new_saga("s-1"), new_saga("s-3")])
    assert [result.status for result in results] == [Status.DONE, Status.EXISTS, Status.DONE]

    assert await statuses(store, not_written, written) == [Status.DONE] * 2
    assert (await batches(store, "s-1"))[1:] == [written.batch]
    assert (await batches(store, "s-2"))[1:] == [not_written.batch]


MakeWrite = Callable[[Claim], Append | NewSaga]


@pytest.mark.parametrize("make", [lambda claim: append(claim, 2), lambda claim: finish(claim, 2)])
async def test_a_lost_write_is_fenced_once_the_saga_has_another_owner(shared: Cluster, make: MakeWrite) -> None:
    store = await shared.open("sec-a")
    one = make(await create(store, "s-1"))
    await lose_and_write(shared, store, Lose.REQUEST, [one])
    await shared.crash(store)
    survivor = await shared.open("sec-b")
    (claim,) = await survivor.adopt([await owned(survivor, "s-1")])
    assert claim is not None

    assert await statuses(store, one) == [Status.FENCED]

    await write_all(survivor, [append(claim, 2)])
    assert await statuses(store, one) == [Status.FENCED]


async def test_an_append_that_was_done_is_known_to_be_so_after_the_saga_was_adopted(shared: Cluster) -> None:
    store = await shared.open("sec-a")
    claim = await create(store, "s-1")
    one = append(claim, 2)
    await lose_and_write(shared, store, Lose.ANSWER, [one])
    await shared.crash(store)
    survivor = await shared.open("sec-b")
    (adopted,) = await survivor.adopt([await owned(survivor, "s-1")])
    assert adopted is not None

    assert await statuses(store, one) == [Status.DONE]
    assert (await write(store, append(claim, 3))).status is Status.FENCED
    await write_all(survivor, [append(adopted, 3)])


async def test_a_creation_that_was_done_is_known_to_be_so_after_the_saga_was_adopted(shared: Cluster) -> None:
    store = await shared.open("sec-a")
    saga = new_saga("s-1")
    await lose_and_write(shared, store, Lose.ANSWER, [saga])
    await shared.crash(store)
    survivor = await shared.open("sec-b")
    (adopted,) = await survivor.adopt([await owned(survivor, "s-1")])
    assert adopted is not None

    (result,) = await settled(store, [saga])

    assert result.status is Status.DONE
    assert result.claim is not None
    assert (await write(store, append(result.claim, 2))).status is Status.FENCED


async def test_a_creation_that_was_lost_is_fenced_once_the_incarnation_is_dead(shared: Cluster) -> None:
    store = await shared.open("sec-a")
    saga = new_saga("s-1")
    await lose_and_write(shared, store, Lose.REQUEST, [saga])
    await shared.crash(store)

    assert await statuses(store, saga) == [Status.FENCED]
    assert await store.read("s-1") is None
