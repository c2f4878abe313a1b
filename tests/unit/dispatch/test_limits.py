"""Limits on actions: what starts, what waits, and who goes on when a permit comes free."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from sagaline.v1 import worker_service_pb2 as pb
from sagaline_server.core.entries import Kind
from sagaline_server.core.shares import ActionLimit
from tests.unit.dispatch.conftest import World
from tests.unit.dispatch.messages import ACT, OTHER, UNDO, invocation, key, work

TWO = ("act", "2", Kind.ACTION)
BOTH = [pb.ActionSpec(action="act", versions=["1", "2"]), pb.ActionSpec(action="other")]


@pytest.fixture
async def limited(world: World) -> AsyncIterator[World]:
    """A dispatcher that may have one attempt of "act" in flight; its timers need a loop."""
    world.sagas.live.add("s")
    world.dispatcher.set_limits({"act": ActionLimit(1)})
    yield world
    world.dispatcher.clear_sagas()


def started(world: World) -> list[int]:
    return [node for _, node, _, _ in world.sagas.offers]


async def test_no_more_than_the_limit_start_and_undo_is_not_held(limited: World) -> None:
    limited.connect("w", window=9, actions=BOTH)
    dispatcher = limited.dispatcher
    assert dispatcher.reserve(ACT) == "w"
    assert [dispatcher.reserve(action) for action in (ACT, TWO)] == [None, None]
    assert [dispatcher.reserve(action) for action in (UNDO, UNDO, OTHER)] == ["w", "w", "w"]
    assert dispatcher.permits.why(ACT) == ("action act has a limit: this SEC may have 1 in flight, and has 1")
    assert not dispatcher.permits.why(UNDO)
    dispatcher.release("w", ACT)
    assert not dispatcher.permits.why(OTHER)


async def test_a_permit_that_comes_free_goes_to_who_waited_longest_on_whatever_worker(limited: World) -> None:
    """The attempt that ends is of one worker, and what waits is of a version that only another serves."""
    first = limited.connect("w1", window=9)
    limited.connect("w2", window=9, actions=[pb.ActionSpec(action="act", versions=["2"])])
    limited.start(first, "a")
    for node, action in ((1, TWO), (2, TWO), (3, ACT)):
        assert limited.dispatcher.reserve(action) is None
        limited.dispatcher.wait("s", node, action)
    assert limited.dispatcher.reserve(ACT) is None, "nobody overtakes those that wait"
    first.finish(key("a"))
    limited.dispatcher.pump(first)
    assert started(limited) == [1] or started(limited) == [3]
    assert sum(session.used("act") for session in limited.dispatcher.sessions.values()) == 1


async def test_versions_take_turns(limited: World) -> None:
    session = limited.connect("w", window=9, actions=BOTH)
    limited.start(session, "a")
    for node, action in ((1, TWO), (2, TWO), (3, ACT), (4, ACT)):
        assert limited.dispatcher.reserve(action) is None
        limited.dispatcher.wait("s", node, action)
    session.finish(key("a"))
    limited.dispatcher.pump(session)
    for _ in range(3):
        node, action = limited.sagas.offers[-1][1], ACT if limited.sagas.offers[-1][1] > 2 else TWO
        limited.dispatcher.send("s", work("w", f"n{node}", action), invocation(key(f"n{node}")))
        session.finish(key(f"n{node}"))
        limited.dispatcher.pump(session)
    assert sorted(started(limited)) == [1, 2, 3, 4]


async def test_what_unwinding_needs_waits_for_no_limit_and_overtakes(limited: World) -> None:
    session = limited.connect("w", window=2)
    limited.start(session, "a")
    limited.dispatcher.wait("s", 1, ACT)
    assert limited.dispatcher.reserve(ACT, is_free=True) == "w"
    limited.sagas.free.add(("s", 2))
    assert limited.dispatcher.reserve(ACT, is_free=True) is None, "no worker has room"
    limited.dispatcher.wait("s", 2, ACT, is_free=True)
    limited.sagas.free.add(("s", 1))
    limited.dispatcher.wait("s", 1, ACT, is_free=True)
    limited.dispatcher.release("w", ACT)
    session.finish(key("a"))
    limited.dispatcher.pump(session)
    assert started(limited) == [1, 2]


async def test_a_greater_limit_lets_go_on_at_once_and_none_at_all_everything(limited: World) -> None:
    limited.connect("w", window=9)
    assert limited.dispatcher.reserve(ACT) == "w"
    for node in range(5):
        limited.dispatcher.wait("s", node, ACT)
    limited.dispatcher.set_limits({"act": ActionLimit(3)})
    assert started(limited) == [0, 1]
    limited.dispatcher.set_limits({})
    assert started(limited) == [0, 1, 2, 3, 4]


async def test_what_an_adopted_log_gives_to_a_worker_counts(limited: World) -> None:
    limited.connect("w", window=9)
    limited.dispatcher.expect("w", key("n"), ACT, 2)
    assert limited.dispatcher.reserve(ACT) is None
    limited.dispatcher.forget("s")
    limited.dispatcher.set_limits({"act": ActionLimit(1)})
    assert limited.dispatcher.reserve(ACT) == "w"


async def test_a_rate_lets_go_on_by_itself_when_it_is_time(world: World) -> None:
    world.sagas.live.add("s")
    world.connect("w", window=9)
    world.dispatcher.set_limits({"act": ActionLimit(None, 100.0)})
    assert world.dispatcher.reserve(ACT) == "w"
    assert world.dispatcher.reserve(ACT) is None
    world.dispatcher.wait("s", 1, ACT)
    assert world.dispatcher.permits.why(ACT) == "action act has a limit: this SEC may start 100 a second"
    world.clock.now += 1.0
    gone_on = asyncio.Event()
    offer = world.sagas.offer

    def noted(saga_id: str, node: int, kind: Kind, worker_id: str) -> bool:
        gone_on.set()
        return offer(saga_id, node, kind, worker_id)

    world.sagas.offer = noted  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        await gone_on.wait()
    assert started(world) == [1]
    world.dispatcher.clear_sagas()


async def test_what_has_no_share_here_can_be_taken_away(limited: World) -> None:
    limited.dispatcher.set_limits({"act": ActionLimit(0)})
    limited.connect("w", window=9, actions=BOTH)
    for node in range(3):
        limited.dispatcher.wait("s", node, ACT)
    limited.dispatcher.wait("s", 4, TWO)
    assert limited.dispatcher.take_stranded({"act"}, 2) == [("s", 0), ("s", 1)]
    assert sorted(limited.dispatcher.take_stranded({"act"}, 9)) == [("s", 2), ("s", 4)]
    assert limited.dispatcher.waiting_count() == 0
