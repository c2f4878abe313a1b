"""Several SECs at once: whatever the order, each epoch of a saga has one owner, and each request one effect."""

from __future__ import annotations

import asyncio
from collections import Counter

import msgspec
import pytest

from sagaline_server.ports.cluster import ClusterStore, HandOff, HandOffFate
from sagaline_server.ports.store import Append, Claim, Status, StoreError
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import adopted, append, batches, consume, create, create_many, settled, write, write_all
from tests.contracts.test_hand_off import claim_of, hand_off, hand_over, sec
from tests.tcp_proxy import Lose

SAGAS = 60


async def give_all(
    giver: ClusterStore, to: ClusterStore, claims: list[Claim], crash: asyncio.Event
) -> dict[str, HandOffFate]:
    """Hand sagas off in small parts; somewhere on the way the giver dies."""
    target, fates = await sec(to), dict[str, HandOffFate]()
    for start in range(0, len(claims), 5):
        part = claims[start : start + 5]
        results = await giver.hand_off([HandOff(claim, b"run") for claim in part], target)
        fates.update(zip((claim.saga_id for claim in part), results, strict=True))
        if start == 20:
            crash.set()
        await asyncio.sleep(0)  # a store in memory gives nobody else a turn
    return fates


async def adopt_all(store: ClusterStore, crash: asyncio.Event, *, backwards: bool) -> list[Claim]:
    """Adopt whatever can be, until nothing is left of the dead."""
    await crash.wait()
    claims: list[Claim] = []
    async with asyncio.timeout(20):
        while True:
            secs = await store.list_secs()
            alive = {incarnation for each in secs for incarnation in each.incarnations}
            orphans = [saga for saga in await store.list_owned() if saga.incarnation not in alive]
            orphans.sort(key=lambda saga: saga.saga_id, reverse=backwards)
            if len(secs) == 3 and not orphans:
                return claims
            claims += [claim for claim in await store.adopt(orphans[:7]) if claim is not None]
            await asyncio.sleep(0)  # as above


async def test_two_secs_adopt_while_the_dying_owner_hands_off(shared: Cluster) -> None:
    giver, target = await shared.open("sec-a"), await shared.open("sec-b")
    heirs = [await shared.open("sec-c"), await shared.open("sec-d")]
    claims = await create_many(giver, [f"s-{number:02}" for number in range(SAGAS)])
    crash = asyncio.Event()

    async def die() -> None:
        await crash.wait()
        await shared.crash(giver)

    fates, adoptions, _ = await asyncio.gather(
        give_all(giver, target, claims, crash),
        asyncio.gather(*(adopt_all(heir, crash, backwards=bool(number)) for number, heir in enumerate(heirs))),
        die(),
    )

    given = {saga_id for saga_id, fate in fates.items() if fate is HandOffFate.DONE}
    taken = Counter(claim.saga_id for some in adoptions for claim in some)
    assert HandOffFate.TARGET_GONE not in fates.values()
    assert len(given) >= 20
    assert set(taken.values()) <= {1}
    assert given.isdisjoint(taken)
    assert len(given) + len(taken) == SAGAS
    for saga in await target.list_owned():
        assert saga.epoch == 2
        assert (saga.sec_id == "sec-b") == (saga.saga_id in given)
    for heir, some in zip(heirs, adoptions, strict=True):
        await write_all(heir, [append(claim, 2) for claim in some])
    results = await giver.commit([append(claim, 2) for claim in claims])
    assert {result.status for result in results} == {Status.FENCED}


async def test_the_target_dies_while_it_is_given_sagas(shared: Cluster) -> None:
    giver, target, heir = await shared.open("sec-a"), await shared.open("sec-b"), await shared.open("sec-c")
    claims = await create_many(giver, [f"s-{number:02}" for number in range(SAGAS)])
    crash = asyncio.Event()

    async def die() -> None:
        await crash.wait()
        await shared.crash(target)

    fates, _ = await asyncio.gather(give_all(giver, target, claims, crash), die())

    kept = [claim for claim in claims if fates[claim.saga_id] is HandOffFate.TARGET_GONE]
    given = [claim for claim in claims if fates[claim.saga_id] is HandOffFate.DONE]
    assert len(kept) + len(given) == SAGAS
    assert len(given) >= 20
    if kept:
        await write_all(giver, [append(claim, 2) for claim in kept])
    taken = await heir.adopt(await heir.list_owned())
    by_id = {claim.saga_id: claim.epoch for claim in taken if claim is not None}
    assert by_id == {claim.saga_id: 3 for claim in given}


async def test_a_saga_is_handed_off_and_written_at_once(shared: Cluster) -> None:
    """It must not be, but if it is, nothing is written after the hand-off."""
    giver, target = await shared.open("sec-a"), await shared.open("sec-b")
    claims = await create_many(giver, [f"s-{number:02}" for number in range(20)])
    appends = [append(claim, 2) for claim in claims]
    to = await sec(target)

    results, fates = await asyncio.gather(giver.commit(appends), giver.hand_off(list(map(hand_off, claims)), to))

    assert set(fates) == {HandOffFate.DONE}
    assert {result.status for result in results} <= {Status.DONE, Status.FENCED}
    for saga, result in zip(await target.list_owned(), results, strict=True):
        assert (result.revision < saga.revision) == (result.status is Status.DONE) or result.revision == 0
        assert len(await batches(target, saga.saga_id)) == (2 if result.status is Status.DONE else 1)


async def test_two_hand_offs_of_one_saga_at_once_give_it_one_owner(shared: Cluster) -> None:
    giver, one, other = await shared.open("sec-a"), await shared.open("sec-b"), await shared.open("sec-c")
    claims = await create_many(giver, [f"s-{number:02}" for number in range(20)])

    fates = await asyncio.gather(hand_over(giver, one, *claims), hand_over(giver, other, *claims[::-1]))

    for saga, first, second in zip(await giver.list_owned(), fates[0], reversed(fates[1]), strict=True):
        assert {first, second} == {HandOffFate.DONE, HandOffFate.FENCED}
        assert saga.sec_id == ("sec-b" if first is HandOffFate.DONE else "sec-c")
        assert saga.epoch == 2


# ---- requests -----------------------------------------------------------------------------------------------


def carry_out(claim: Claim, seq: int, *control_ids: str) -> Append:
    return msgspec.structs.replace(append(claim, seq), consumes=control_ids)


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
@pytest.mark.parametrize("how", ["adopted", "handed off"])
async def test_a_request_is_consumed_once_though_the_owner_changes(shared: Cluster, what: Lose, how: str) -> None:
    """The old owner does not know whether its effect was written; the new one carries out what it finds."""
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    claim = await create(first, "s-1")
    await second.put_control("s-1", "01", b"unwind")
    effect = carry_out(claim, 2, "01")
    shared.lose(first, what)
    assert (await write(first, effect)).status is Status.UNKNOWN
    if how == "adopted":
        await shared.crash(first)
        taken = await adopted(second, "s-1")
    else:
        assert list(await hand_over(first, second, claim)) == [HandOffFate.DONE]
        taken = await claim_of(second, "s-1")

    left = [control.control_id for control in await second.list_controls("s-1") if control.control_id == "01"]
    first_seq = 1 + len(await batches(second, "s-1"))
    await write_all(second, [carry_out(taken, first_seq, *left) if left else append(taken, first_seq)])

    (again,) = await settled(first, [effect])
    assert again.status is (Status.DONE if what is Lose.ANSWER else Status.FENCED)
    assert bool(left) == (what is Lose.REQUEST)
    assert "01" not in [control.control_id for control in await second.list_controls()]
    assert (effect.batch in await batches(second, "s-1")) == (what is Lose.ANSWER)


async def test_old_and_new_owner_carry_a_request_out_at_once_and_one_of_them_does(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    for number in range(10):
        saga_id = f"s-{number}"
        claim = await create(first, saga_id)
        await second.put_control(saga_id, "01", b"unwind")

        async def take_over(claim: Claim = claim) -> Status:
            assert list(await hand_over(first, second, claim)) == [HandOffFate.DONE]
            taken = await claim_of(second, claim.saga_id)
            controls = [control.control_id for control in await second.list_controls(claim.saga_id)]
            if "01" not in controls:
                return Status.FENCED
            return (await write(second, carry_out(taken, 2, *controls))).status

        old, new = await asyncio.gather(write(first, carry_out(claim, 2, "01")), take_over())

        assert {old.status, new} == {Status.DONE, Status.FENCED}
        assert len(await batches(second, saga_id)) == 2


async def test_a_request_that_is_put_while_the_saga_ends_is_refused_or_goes_with_it(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    claims = await create_many(first, [f"s-{number:02}" for number in range(20)])
    ends = [msgspec.structs.replace(append(claim, 2), done=b"done") for claim in claims]

    results, puts = await asyncio.gather(
        first.commit(ends), asyncio.gather(*(second.put_control(claim.saga_id, "01", b"x") for claim in claims))
    )

    assert {result.status for result in results} == {Status.DONE}
    assert set(puts) <= {True, False}
    assert await second.list_controls() == []


async def test_a_consumed_request_that_is_put_again_is_there_again(cluster: Cluster) -> None:
    """Whoever asked did not hear that it was put. The requests are such that this does no harm."""
    store = await cluster.open()
    claim = await create(store, "s-1")
    cluster.lose(store, Lose.ANSWER)
    with pytest.raises(StoreError):
        await store.put_control("s-1", "01", b"x")
    await settled(store, [consume(claim, "01")])

    assert await store.put_control("s-1", "01", b"x")

    assert [control.control_id for control in await store.list_controls()] == ["01"]


async def test_a_write_that_only_consumes_and_is_fenced_may_have_been_done(shared: Cluster) -> None:
    first, second = await shared.open("sec-a"), await shared.open("sec-b")
    claim = await create(first, "s-1")
    await first.put_control("s-1", "01", b"x")
    one = consume(claim, "01")
    shared.lose(first, Lose.ANSWER)
    assert (await write(first, one)).status is Status.UNKNOWN
    await hand_over(first, second, claim)

    (again,) = await settled(first, [one])

    assert again.status is Status.FENCED
    assert "01" not in [control.control_id for control in await first.list_controls()]
