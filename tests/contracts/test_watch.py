"""`ClusterStore.watch`: what changes among SECs and requests is told, and nothing is lost without a Resync."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from sagaline_server.ports.cluster import (
    ClusterEvent,
    ClusterStore,
    ControlGone,
    ControlPut,
    HandOffFate,
    Resync,
    SecsChanged,
    StoredControl,
    hand_off_id,
)
from sagaline_server.ports.store import StoreError
from sagaline_server.store.feed import EVENTS_MAX
from tests.contracts.clusters import Cluster
from tests.contracts.sagas import append, consume, create, create_many, finish, insist, write_all
from tests.contracts.test_hand_off import hand_over
from tests.contracts.watching import SECONDS, Watching, watching
from tests.tcp_proxy import Lose

SELDOM = 600.0
"""So long between two Resyncs that whatever is told is told by an event."""


def put(saga_id: str, control_id: str, control: bytes = b"x") -> ControlPut:
    return ControlPut(StoredControl(saga_id, control_id, control))


async def open_two(shared: Cluster) -> tuple[ClusterStore, ClusterStore]:
    return (
        await shared.open("sec-a", relist_seconds=SELDOM),
        await shared.open("sec-b", relist_seconds=SELDOM),
    )


async def test_a_watch_begins_with_a_resync(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    watch = Watching(store.watch())
    assert await watch.next() == Resync()
    await store.close()
    assert await watch.rest() == []


async def test_a_request_is_told_when_it_is_put_and_when_it_is_consumed(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    claim = await create(store, "s-1")
    async with watching(store) as watch:
        await store.put_control("s-1", "01", b"unwind")
        assert await watch.next() == put("s-1", "01", b"unwind")
        await write_all(store, [msgspec.structs.replace(append(claim, 2), consumes=("01",))])
        assert await watch.next() == ControlGone("s-1", "01")


async def test_what_changes_nothing_is_not_told(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    claim, _ = await create_many(store, ["s-1", "s-2"])
    await store.put_control("s-1", "01", b"first")
    async with watching(store) as watch:
        await store.put_control("s-1", "01", b"again")
        await store.put_control("unknown", "02", b"x")
        await write_all(store, [consume(claim, "never-put"), append((await create_many(store, ["s-3"]))[0], 2)])
        await store.put_control("s-2", "03", b"x")
        assert await watch.next() == put("s-2", "03")


async def test_changes_of_one_sagas_requests_come_in_order(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    claim = await create(store, "s-1")
    expected: list[ClusterEvent] = []
    async with watching(store) as watch:
        for number in range(20):
            await store.put_control("s-1", f"{number:02}", b"x")
            expected.append(put("s-1", f"{number:02}"))
            if number % 3 == 2:
                gone = [f"{number - 1:02}", f"{number:02}"]
                for control_id in gone:
                    await write_all(store, [consume(claim, control_id)])
                expected += [ControlGone("s-1", control_id) for control_id in gone]
        assert [await watch.next() for _ in expected] == expected


async def test_the_end_of_a_saga_is_the_end_of_its_requests(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    claim = await create(store, "s-1")
    for control_id in ("01", "02", "03"):
        await store.put_control("s-1", control_id, b"x")
    async with watching(store) as watch:
        await write_all(store, [msgspec.structs.replace(finish(claim, 2), consumes=("02",))])
        gone = {await watch.next() for _ in range(3)}
    assert gone == {ControlGone("s-1", control_id) for control_id in ("01", "02", "03")}


async def test_a_changed_registration_is_told(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    async with watching(store) as watch:
        await store.register(draining=True)
        assert await watch.next() == SecsChanged()
        assert [sec.draining for sec in await store.list_secs()] == [True]
        await store.open(sec_id="sec-a", address="elsewhere:7433", version="1")
        assert await watch.next() == SecsChanged()
    assert [sec.address for sec in await store.list_secs()] == ["elsewhere:7433"]


async def test_secs_that_come_and_go_are_told(shared: Cluster) -> None:
    store, _ = await open_two(shared)
    async with watching(store) as watch:
        third = await shared.open("sec-c")
        assert await watch.next() == SecsChanged()
        assert [sec.sec_id for sec in await store.list_secs()] == ["sec-a", "sec-b", "sec-c"]
        await shared.crash(third)
        assert await watch.next() == SecsChanged()
        assert [sec.sec_id for sec in await store.list_secs()] == ["sec-a", "sec-b"]
        fourth = await shared.open("sec-d")
        assert await watch.next() == SecsChanged()
        await fourth.close()
        assert await watch.next() == SecsChanged()


async def test_every_sec_is_told_what_any_sec_does(shared: Cluster) -> None:
    first, second = await open_two(shared)
    claim = await create(first, "s-1")
    async with watching(first) as ours, watching(second) as theirs, watching(second) as theirs_too:
        await second.put_control("s-1", "01", b"x")
        for watch in (ours, theirs, theirs_too):
            assert await watch.next() == put("s-1", "01")
        await write_all(first, [consume(claim, "01")])
        for watch in (ours, theirs, theirs_too):
            assert await watch.next() == ControlGone("s-1", "01")


async def test_the_target_of_a_hand_off_is_told(shared: Cluster) -> None:
    first, second = await open_two(shared)
    claim = await create(first, "s-1")
    async with watching(second) as watch:
        assert list(await hand_over(first, second, claim)) == [HandOffFate.DONE]
        assert await watch.next() == put("s-1", hand_off_id(claim), b"run s-1")


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_what_was_put_is_told_though_nobody_heard_that_it_was(shared: Cluster, what: Lose) -> None:
    first, second = await open_two(shared)
    await create(first, "s-1")
    async with watching(second) as watch:
        shared.lose(first, what)
        with pytest.raises(StoreError):
            await first.put_control("s-1", "01", b"x")
        await insist(lambda: first.put_control("s-1", "01", b"x"))
        await first.put_control("s-1", "02", b"x")
        assert [await watch.next() for _ in range(2)] == [put("s-1", "01"), put("s-1", "02")]


@pytest.mark.parametrize("what", [Lose.REQUEST, Lose.ANSWER])
async def test_a_store_alone_resyncs_when_it_does_not_know_what_it_did(cluster: Cluster, what: Lose) -> None:
    """Or tells it when the request is put again: either way the watcher learns what is there."""
    store = await cluster.open(relist_seconds=SELDOM)
    await create(store, "s-1")
    async with watching(store) as watch:
        await store.put_control("s-1", "00", b"x")
        assert await watch.next() == put("s-1", "00")
        cluster.lose(store, what)
        with pytest.raises(StoreError):
            await store.put_control("s-1", "01", b"x")
        await insist(lambda: store.put_control("s-1", "01", b"x"))
        await watch.until(lambda event: event in (Resync(), put("s-1", "01")))
        assert [control.control_id for control in await store.list_controls()] == ["00", "01"]


async def test_a_resync_comes_again_and_again_though_nothing_happens(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=0.05)
    async with watching(store) as watch, asyncio.timeout(SECONDS):
        assert [await watch.next() for _ in range(3)] == [Resync()] * 3


async def test_a_resync_comes_in_a_flow_of_events_too(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=0.05)
    await create(store, "s-1")
    numbers = iter(range(100_000))

    async def ask(stop: asyncio.Event) -> None:
        while not stop.is_set():
            await store.put_control("s-1", f"{next(numbers):06}", b"x")
            await asyncio.sleep(0)

    stop = asyncio.Event()
    async with watching(store) as watch:
        asking = asyncio.create_task(ask(stop))
        for _ in range(3):
            await watch.until(lambda event: isinstance(event, ControlPut))
            await watch.until_event(Resync())
        stop.set()
        await asking


async def test_whatever_happens_after_a_resync_is_read_then_or_told(shared: Cluster) -> None:
    """Requests are put all the time; a watcher that reads at each Resync misses none."""
    first, second = await shared.open("sec-a"), await shared.open("sec-b", relist_seconds=0.05)
    await create(first, "s-1")
    ids = [f"{number:03}" for number in range(150)]

    async def ask() -> None:
        for control_id in ids:
            await first.put_control("s-1", control_id, b"x")
            await asyncio.sleep(0)

    asking = asyncio.create_task(ask())
    seen: set[str] = set()
    resyncs = 0
    watch = Watching(second.watch())
    while len(seen) < len(ids):
        event = await watch.next()
        if isinstance(event, ControlPut):
            seen.add(event.control.control_id)
        elif isinstance(event, Resync):
            resyncs += 1
            seen |= {control.control_id for control in await second.list_controls()}
    await asking
    assert resyncs > 0


async def test_a_watcher_that_is_too_slow_looks_at_everything_anew(shared: Cluster) -> None:
    store = await shared.open(relist_seconds=SELDOM)
    claims = await create_many(store, [f"s-{number:02}" for number in range(12)])
    ids = tuple(f"{number:03}" for number in range(EVENTS_MAX // 10))
    async with watching(store) as watch:
        await asyncio.gather(*(store.put_control(claim.saga_id, id_, b"x") for claim in claims for id_ in ids))
        await store.put_control("s-00", "last", b"x")
        events = await watch.until_event(put("s-00", "last"))
    assert Resync() in events
    assert len(events) <= EVENTS_MAX + 1


async def test_watches_end_with_the_store(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    async with watching(store) as one, watching(store) as other:
        waiting = asyncio.create_task(other.rest())
        await asyncio.sleep(0)
        await store.close()
        assert await one.rest() == []
        async with asyncio.timeout(SECONDS):
            assert set(await waiting) <= {SecsChanged(), Resync()}


async def test_a_watch_goes_on_over_a_new_incarnation(cluster: Cluster) -> None:
    store = await cluster.open("sec-a", relist_seconds=SELDOM)
    await create(store, "s-1")
    async with watching(store) as watch:
        await store.open(sec_id="sec-a", address="host:7433", version="1")
        await store.put_control("s-1", "01", b"x")
        events = await watch.until_event(put("s-1", "01"))
        assert set(events) <= {SecsChanged(), put("s-1", "01")}


async def test_a_watch_goes_on_though_its_sec_is_dead(shared: Cluster) -> None:
    store, other = await open_two(shared)
    await create(other, "s-1")
    async with watching(store) as watch:
        await shared.crash(store)
        assert await watch.next() == SecsChanged()
        await other.put_control("s-1", "01", b"x")
        # A store in parts tells of its end in each of them.
        assert set(await watch.until_event(put("s-1", "01"))) <= {SecsChanged(), put("s-1", "01")}


async def test_a_watch_that_is_given_up_leaves_the_others_alone(cluster: Cluster) -> None:
    store = await cluster.open(relist_seconds=SELDOM)
    await create(store, "s-1")
    async with watching(store) as kept:
        async with watching(store):
            pass
        await store.put_control("s-1", "01", b"x")
        assert await kept.next() == put("s-1", "01")
