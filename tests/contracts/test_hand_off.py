"""`ClusterStore.hand_off`: a saga gets the owner that it is given, once, or keeps the one it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import msgspec
import pytest

from sagaline_server.ports.cluster import ClusterStore, HandOff, HandOffFate, StoredControl, hand_off_id
from sagaline_server.ports.store import Claim, SecRecord, Status, StoreError
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import (
    adopted,
    append,
    batches,
    consume,
    create,
    create_many,
    finish,
    insist,
    owned,
    write,
    write_all,
)
from tests.tcp_proxy import Lose

DONE, FENCED, TARGET_GONE = HandOffFate.DONE, HandOffFate.FENCED, HandOffFate.TARGET_GONE
LOST = pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])


async def sec(store: ClusterStore) -> SecRecord:
    """Return the SEC of this store, as others see it."""
    return next(each for each in await store.list_secs() if each.incarnation == store.incarnation)


def hand_off(claim: Claim) -> HandOff:
    return HandOff(claim, f"run {claim.saga_id}".encode())


async def hand_over(store: ClusterStore, to: ClusterStore, *claims: Claim) -> Sequence[HandOffFate]:
    return await give(store, await sec(to), *claims)


async def give(store: ClusterStore, to: SecRecord, *claims: Claim) -> Sequence[HandOffFate]:
    return await insist(lambda: store.hand_off([hand_off(claim) for claim in claims], to))


async def claim_of(store: ClusterStore, saga_id: str) -> Claim:
    """Return the claim of a saga that was handed to this SEC, as it finds out."""
    owner = await owned(store, saga_id)
    assert owner.incarnation == store.incarnation
    return Claim(saga_id, owner.epoch, owner.revision)


async def two(shared: Cluster) -> tuple[ClusterStore, ClusterStore]:
    return await shared.open("sec-a"), await shared.open("sec-b")


async def test_the_target_owns_it_at_the_next_epoch_and_is_asked_to_run_it(shared: Cluster) -> None:
    first, second = await two(shared)
    claim = await create(first, "s-1")
    await write_all(first, [append(claim, 2)])

    assert list(await hand_over(first, second, claim)) == [DONE]

    owner = await owned(second, "s-1")
    assert (owner.sec_id, owner.incarnation, owner.epoch) == ("sec-b", second.incarnation, 2)
    assert owner.revision > claim.revision
    (control,) = await second.list_controls("s-1")
    assert control == StoredControl("s-1", hand_off_id(claim), b"run s-1")
    taken = await claim_of(second, "s-1")
    effect = msgspec.structs.replace(append(taken, 3), consumes=(control.control_id,))
    await write_all(second, [effect])
    assert await second.list_controls() == []
    assert len(await batches(second, "s-1")) == 3


async def test_the_old_owner_writes_nothing_any_more(shared: Cluster) -> None:
    first, second = await two(shared)
    claim, other = await create_many(first, ["s-1", "s-2"])
    await hand_over(first, second, claim, other)

    results = await first.commit([append(claim, 2), finish(other, 2)])

    assert [result.status for result in results] == [Status.FENCED] * 2
    assert list(await first.adopt(await first.list_owned())) == [None, None]


async def test_the_request_of_a_hand_off_comes_before_all_others(shared: Cluster) -> None:
    first, second = await two(shared)
    claim = await create(first, "s-1")
    for control_id in ("01ARZ3NDEKTSV4RRFFQ69G5FAV", "0192f0c1-2345-7abc-8def-0123456789ab"):
        await first.put_control("s-1", control_id, b"asked before")

    await hand_over(first, second, claim)

    ids = [control.control_id for control in await second.list_controls()]
    assert ids[0] == hand_off_id(claim)
    assert len(ids) == 3


def test_the_id_of_a_hand_off_follows_from_the_claim_alone() -> None:
    claim = Claim("s-1", 3, 1234)
    assert hand_off_id(claim) == hand_off_id(msgspec.structs.replace(claim)) != hand_off_id(Claim("s-1", 4, 1240))
    assert (
        hand_off_id(Claim("s-1", 1, 999)) < hand_off_id(Claim("s-1", 2, 1000)) < hand_off_id(Claim("s-1", 3, 2**63 - 1))
    )


async def test_each_hand_off_stands_alone(shared: Cluster) -> None:
    first, second = await two(shared)
    good, stale, finished, other = await create_many(first, ["good", "stale", "finished", "other"])
    await write_all(first, [finish(finished, 2)])
    stale = msgspec.structs.replace(stale, revision=stale.revision + 1)

    fates = await hand_over(first, second, stale, good, finished, Claim("never-was", 1, 1), other)

    assert list(fates) == [FENCED, DONE, FENCED, FENCED, DONE]
    owners = {saga.saga_id: saga.sec_id for saga in await first.list_owned()}
    assert owners == {"good": "sec-b", "other": "sec-b", "stale": "sec-a"}
    assert [control.saga_id for control in await first.list_controls()] == ["good", "other"]


async def test_more_can_be_handed_off_than_one_transaction_holds_and_some_of_it_refused(shared: Cluster) -> None:
    first, second = await two(shared)
    claims = await create_many(first, [f"s-{number:03}" for number in range(200)])
    fenced = {7, 70, 140}
    asked = [
        msgspec.structs.replace(claim, revision=claim.revision + 1000) if number in fenced else claim
        for number, claim in enumerate(claims)
    ]

    fates = await hand_over(first, second, *asked)

    assert [number for number, fate in enumerate(fates) if fate is FENCED] == sorted(fenced)
    assert set(fates) == {DONE, FENCED}
    await write_all(first, [append(claims[number], 2) for number in fenced])
    await write_all(second, [append(await claim_of(second, "s-000"), 2)])


async def test_hand_offs_may_be_larger_than_one_request(shared: Cluster) -> None:
    first, second = await two(shared)
    claims = await create_many(first, ["s-1", "s-2", "s-3"])

    fates = await first.hand_off([HandOff(claim, b"x" * 900_000) for claim in claims], await sec(second))

    assert list(fates) == [DONE] * 3


async def test_a_dead_target_gets_nothing_and_the_owner_keeps_all(shared: Cluster) -> None:
    first, second = await two(shared)
    claim, stale = await create_many(first, ["s-1", "s-2"])
    target = await sec(second)
    await shared.crash(second)
    asked = [hand_off(claim), hand_off(msgspec.structs.replace(stale, revision=stale.revision + 1))]

    assert list(await first.hand_off(asked, target)) == [TARGET_GONE, FENCED]

    assert await first.list_controls() == []
    await write_all(first, [append(claim, 2), append(stale, 2)])
    newer = await shared.open("sec-b")
    assert list(await first.hand_off(asked[:1], target)) == [TARGET_GONE]  # its name lives, but not it
    assert list(await hand_over(first, newer, claim)) == [DONE]


async def test_a_dead_owner_gives_nothing_away(shared: Cluster) -> None:
    first, second = await two(shared)
    claim = await create(first, "s-1")
    await shared.crash(first)

    assert list(await hand_over(first, second, claim)) == [FENCED]

    assert (await owned(second, "s-1")).epoch == 1
    taken = await adopted(second, "s-1")
    assert taken.epoch == 2


async def test_a_saga_can_be_handed_round(shared: Cluster) -> None:
    stores = [await shared.open(f"sec-{number}") for number in range(3)]
    claim = await create(stores[0], "s-1")
    for epoch in range(2, 8):
        giver, taker = stores[epoch % 3 - 2], stores[epoch % 3 - 1]
        assert list(await hand_over(giver, taker, claim)) == [DONE]
        claim = await claim_of(taker, "s-1")
        assert claim.epoch == epoch
        await write_all(taker, [msgspec.structs.replace(append(claim, epoch), consumes=(await run_order(taker),))])
    assert len(await batches(stores[0], "s-1")) == 7


async def run_order(store: ClusterStore) -> str:
    (control,) = await store.list_controls("s-1")
    return control.control_id


async def test_what_could_not_mean_anything_is_refused(cluster: Cluster) -> None:
    store = await cluster.open()
    claim = await create(store, "s-1")
    elsewhere = SecRecord("sec-b", store.incarnation + 1, "", "")
    with pytest.raises(ValueError, match="twice"):
        await store.hand_off([hand_off(claim), hand_off(claim)], elsewhere)
    with pytest.raises(ValueError, match="that has them"):
        await store.hand_off([hand_off(claim)], await sec(store))
    with pytest.raises(ValueError, match="too large"):
        await store.hand_off([HandOff(claim, b"x" * 2_000_000)], elsewhere)
    await write_all(store, [append(claim, 2)])


async def test_alone_there_is_nobody_to_hand_off_to(cluster: Cluster) -> None:
    store = await cluster.open()
    claim, finished = await create_many(store, ["s-1", "s-2"])
    await write_all(store, [finish(finished, 2)])
    nobody = SecRecord("sec-b", store.incarnation + 1000, "", "")

    assert list(await store.hand_off([hand_off(claim), hand_off(finished)], nobody)) == [TARGET_GONE, FENCED]

    await write_all(store, [append(claim, 2)])
    assert list(await store.hand_off([], nobody)) == []


# ---- outcomes that are not known ---------------------------------------------------------------------------


async def lose_hand_off(shared: Cluster, what: Lose, giver: ClusterStore, to: SecRecord, *claims: Claim) -> None:
    shared.lose(giver, what)
    with pytest.raises(StoreError):
        await giver.hand_off([hand_off(claim) for claim in claims], to)


@LOST
async def test_a_hand_off_called_again_is_done_once(shared: Cluster, what: Lose) -> None:
    first, second = await two(shared)
    claims = await create_many(first, ["s-1", "s-2"])
    await lose_hand_off(shared, what, first, await sec(second), *claims)

    for _ in range(2):
        assert list(await hand_over(first, second, *claims)) == [DONE, DONE]

    assert [saga.epoch for saga in await first.list_owned()] == [2, 2]
    assert len(await first.list_controls()) == 2


async def test_hand_offs_of_which_some_were_done_are_told_apart_when_called_again(shared: Cluster) -> None:
    first, second = await two(shared)
    given, kept, stale = await create_many(first, ["s-1", "s-2", "s-3"])
    await lose_hand_off(shared, Lose.ANSWER, first, await sec(second), given)
    stale = msgspec.structs.replace(stale, revision=stale.revision + 1)

    assert list(await hand_over(first, second, stale, kept, given)) == [FENCED, DONE, DONE]


Event = Callable[[Cluster, ClusterStore], Awaitable[None]]


async def _works_on(shared: Cluster, target: ClusterStore) -> None:
    (control,) = await target.list_controls("s-1")
    await write_all(target, [consume(await claim_of(target, "s-1"), control.control_id)])


async def _hands_on(shared: Cluster, target: ClusterStore) -> None:
    third = await shared.open("sec-c")
    assert list(await hand_over(target, third, await claim_of(target, "s-1"))) == [DONE]


async def _hands_back(shared: Cluster, target: ClusterStore) -> None:
    giver = next(each for each in await target.list_secs() if each.sec_id == "sec-a")
    assert list(await give(target, giver, await claim_of(target, "s-1"))) == [DONE]


async def _finishes(shared: Cluster, target: ClusterStore) -> None:
    await write_all(target, [finish(await claim_of(target, "s-1"), 2)])


async def _finishes_and_compacts(shared: Cluster, target: ClusterStore) -> None:
    await _finishes(shared, target)
    await target.remove_finished(["s-1"], keep_summary=True)


async def _dies(shared: Cluster, target: ClusterStore) -> None:
    await shared.crash(target)


async def _dies_and_has_an_heir_that_finishes(shared: Cluster, target: ClusterStore) -> None:
    await shared.crash(target)
    heir = await shared.open("sec-c")
    await write_all(heir, [finish(await adopted(heir, "s-1"), 2)])


@pytest.mark.parametrize(
    "meanwhile",
    [
        _works_on,
        _hands_on,
        _hands_back,
        _finishes,
        _finishes_and_compacts,
        _dies,
        _dies_and_has_an_heir_that_finishes,
    ],
)
async def test_a_hand_off_that_was_done_is_known_whatever_the_target_did_since(
    shared: Cluster, meanwhile: Event
) -> None:
    first, second = await two(shared)
    claim, target = await create(first, "s-1"), await sec(second)
    await lose_hand_off(shared, Lose.ANSWER, first, target, claim)
    await meanwhile(shared, second)
    before = await insist(lambda: first.read_owners(["s-1"]))

    assert list(await give(first, target, claim)) == [DONE]

    assert list(await first.read_owners(["s-1"])) == list(before)
    assert (await write(first, append(claim, 2))).status is Status.FENCED


async def test_a_hand_off_that_was_lost_is_refused_once_the_target_is_dead(shared: Cluster) -> None:
    first, second = await two(shared)
    claim, target = await create(first, "s-1"), await sec(second)
    await lose_hand_off(shared, Lose.REQUEST, first, target, claim)
    await shared.crash(second)

    assert list(await give(first, target, claim)) == [TARGET_GONE]
    await write_all(first, [append(claim, 2)])


async def test_a_hand_off_that_was_lost_is_fenced_once_another_sec_adopted_the_saga(shared: Cluster) -> None:
    first, second = await two(shared)
    claim, target = await create(first, "s-1"), await sec(second)
    await lose_hand_off(shared, Lose.REQUEST, first, target, claim)
    await shared.crash(first)
    third = await shared.open("sec-c")
    taken = await adopted(third, "s-1")

    assert list(await give(first, target, claim)) == [FENCED]
    await write_all(third, [append(taken, 2)])
    assert await third.list_controls() == []


async def test_a_saga_of_the_same_id_is_not_taken_for_the_one_that_was_handed_off(shared: Cluster) -> None:
    first, second = await two(shared)
    claim, target = await create(first, "s-1"), await sec(second)
    await write_all(first, [finish(claim, 2)])
    await first.remove_finished(["s-1"], keep_summary=False)
    again = await create(first, "s-1")
    assert list(await give(first, target, again)) == [DONE]

    assert list(await give(first, target, claim)) == [FENCED]
