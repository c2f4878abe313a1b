"""Limits over whole SECs: never more than allowed, nothing stands still, and undo waits for nobody."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import saga_pb2
from sagaline_server.core.entries import Kind
from sagaline_server.runtime.explain import explain
from sagaline_server.store.memory import Fault, MemoryBackend
from sagaline_server.wire.limits import subject
from tests.unit.ownership.fleet import ACTIONS, PlayedSec, drawn_saga, settle
from tests.unit.ownership.waiting import SECONDS, until

SCOPES = ("rack/1", "rack/2")


async def put(sec: PlayedSec, limit: pb.Limit) -> None:
    await sec.store.put_condition(subject(limit), limit.SerializeToString())
    await sec.keeper.conditions.refresh()


@pytest.fixture
async def sec() -> AsyncIterator[PlayedSec]:
    played = PlayedSec(MemoryBackend(), "sec-a")
    await played.open()
    yield played
    await played.close()


def plain_saga(saga_id: str, *scopes: str) -> saga_pb2.SagaSpec:
    spec = drawn_saga(saga_id, random.Random(0))
    del spec.graph.nodes[1:]
    spec.graph.nodes[0].action.action = "a"
    spec.scopes.extend(scopes)
    return spec


def reasons(sec: PlayedSec, saga_id: str) -> list[tuple[int, str]]:
    told = explain(sec.dispatcher, sec.engine.sagas[saga_id], 0.0)
    return [(wait.reason, wait.message) for wait in told.waits]


class Play:
    """A random run: sagas, limits, and workers that end attempts in any order."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.sec = PlayedSec(MemoryBackend(), "sec-a")
        self.bounds = {action: self.draw.choice((1, 1, 2, 3, None)) for action in ACTIONS}
        self.running = {scope: self.draw.choice((1, 2, None)) for scope in SCOPES}

    async def run(self) -> None:
        await self.sec.open()
        try:
            async with asyncio.timeout(SECONDS):
                await self._run()
        finally:
            await self.sec.close()

    async def _run(self) -> None:
        for action, bound in self.bounds.items():
            await put(self.sec, pb.Limit(action=action, max_in_flight=bound))
        for scope, bound in self.running.items():
            failing = self.draw.choice((None, 1, 2))
            await put(self.sec, pb.Limit(scope=scope, max_running=bound, max_failing=failing))
        for number in range(self.draw.randint(1, 8)):
            await self.sec.create(drawn_saga(f"s{number}", self.draw, SCOPES))
            await self._step()
        while self.sec.engine.sagas:
            await self._step()

    async def _step(self) -> None:
        await settle()
        self.sec.receive()
        self._check()
        if self.sec.held:
            key = self.draw.choice(list(self.sec.held))
            self.sec.finish(key, failed=key[2] is Kind.ACTION and self.draw.random() < 0.15)
        elif self.sec.engine.sagas:
            await settle()
            self.sec.receive()
            stands = [f"{id_}: {reasons(self.sec, id_)}" for id_ in self.sec.engine.sagas]
            assert self.sec.held or not self.sec.engine.sagas, stands

    def _check(self) -> None:
        for action, bound in self.bounds.items():
            assert bound is None or self.sec.in_flight(action) <= bound
        for scope, bound in self.running.items():
            lives = [live for live in self.sec.engine.sagas.values() if scope in live.about.scopes]
            assert bound is None or sum(live.state.has_started for live in lives) <= bound
        for live in self.sec.engine.sagas.values():
            for node in range(len(live.state.topology.nodes)):
                # Undo that may start has started: there is room at the worker, and no limit holds it.
                assert live.is_writing or live.inbox or live.state.startable(node) is not Kind.UNDO


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_random_sagas_end_under_random_limits_and_undo_is_never_held(seed: int) -> None:
    asyncio.run(Play(seed).run())


async def test_a_scope_runs_so_many_sagas_and_tells_why_others_wait(sec: PlayedSec) -> None:
    await put(sec, pb.Limit(scope="rack/1", max_running=1))
    for saga_id in ("s1", "s2", "s3"):
        await sec.create(plain_saga(saga_id, "rack/1"))
    await sec.create(plain_saga("free"))
    await settle()
    sec.receive()
    assert {key[0] for key in sec.held} == {"s1", "free"}
    text = "scope rack/1 has a limit: this SEC may run 1 of its sagas at once, and runs 1"
    assert reasons(sec, "s2") == [(pb.WAIT_REASON_LIMIT, text)]
    sec.finish(("s1", "n0", Kind.ACTION, 1), failed=False)
    await until(lambda: "s1" not in sec.engine.sagas)
    await settle()
    sec.receive()
    assert {key[0] for key in sec.held} == {"s2", "free"}
    await put(sec, pb.Limit(scope="rack/1", max_running=2))
    await settle()
    sec.receive()
    assert {key[0] for key in sec.held} == {"s2", "s3", "free"}


async def test_sagas_that_fail_hold_new_ones(sec: PlayedSec) -> None:
    await put(sec, pb.Limit(scope="rack/1", max_failing=1))
    spec = drawn_saga("bad", random.Random(0))
    del spec.graph.nodes[1:]
    spec.graph.nodes.add(name="n1", after=["n0"]).action.action = "b"
    spec.scopes.append("rack/1")
    await sec.create(spec)
    for node, failed in (("n0", False), ("n1", True)):
        await settle()
        sec.receive()
        sec.finish(("bad", node, Kind.ACTION, 1), failed=failed)
    await settle()
    await sec.create(plain_saga("new", "rack/1"))
    await settle()
    sec.receive()
    assert list(sec.held) == [("bad", "n0", Kind.UNDO, 1)]
    assert reasons(sec, "new")[0][0] == pb.WAIT_REASON_LIMIT
    sec.finish(("bad", "n0", Kind.UNDO, 1), failed=False)
    await until(lambda: "bad" not in sec.engine.sagas)
    await settle()
    sec.receive()
    assert [key[0] for key in sec.held] == ["new"]


async def test_a_limit_on_an_action_is_told_as_the_reason(sec: PlayedSec) -> None:
    await put(sec, pb.Limit(action="a", max_in_flight=0))
    await sec.create(plain_saga("s1"))
    text = "action a has a limit: this SEC may have 0 in flight, and has 0"
    assert reasons(sec, "s1") == [(pb.WAIT_REASON_LIMIT, text)]
    await sec.store.put_condition("action:a", b"")
    await until(lambda: bool(sec.session.in_flight))


async def test_what_was_queued_before_a_scope_had_a_limit_is_asked_all_the_same(sec: PlayedSec) -> None:
    await put(sec, pb.Limit(action="a", max_in_flight=0))
    for saga_id in ("s1", "s2"):
        await sec.create(plain_saga(saga_id, "rack/1"))
    await put(sec, pb.Limit(scope="rack/1", max_running=1))
    await put(sec, pb.Limit(action="a"))
    await settle()
    sec.receive()
    assert len(sec.held) == 1


async def test_a_saga_held_while_its_first_start_is_written_goes_on_when_that_is_durable() -> None:
    """It has started then, limit or not. Nothing else would look at the node that was held meanwhile."""
    away: set[str] = set()
    played = PlayedSec(MemoryBackend(lambda method: Fault.LOSE_REQUEST if method in away else Fault.NONE), "sec-a", 2)
    await played.open()
    for name in ("one", "other"):
        await played.create(plain_saga(name))
    spec = plain_saga("s", "rack/1")
    spec.graph.nodes.add(name="second").action.action = "b"
    await played.create(spec)
    played.receive()
    one, other = sorted(played.held)
    away.add("commit")
    played.finish(one, failed=False)
    await until(lambda: played.engine.sagas["s"].is_writing)  # the start of its first node
    await put(played, pb.Limit(scope="rack/1", max_running=0))
    played.finish(other, failed=False)
    assert played.engine.sagas["s"].held_by
    away.clear()

    def has_started() -> bool:
        played.receive()
        return {key[:2] for key in played.held} == {("s", "n0"), ("s", "second")}

    await until(has_started)
    await played.close()


@pytest.mark.parametrize(
    ("limit", "fewer"),
    [
        (pb.Limit(action="a", max_in_flight=3), pb.Limit(action="a", max_in_flight=1)),
        (pb.Limit(scope="rack/1", max_running=3), pb.Limit(scope="rack/1", max_running=1)),
    ],
)
async def test_secs_share_a_limit_and_one_without_a_share_gives_its_sagas_away(
    limit: pb.Limit, fewer: pb.Limit
) -> None:
    """Three may run, of any number of sagas, wherever they are; then one, and nothing waits for ever."""
    backend = MemoryBackend()
    first, second = PlayedSec(backend, "sec-a"), PlayedSec(backend, "sec-b")
    secs = (first, second)
    try:
        for sec in secs:
            await sec.open()
        await put(first, limit)
        await until(lambda: len(first.membership.secs) == len(second.membership.secs) == 2)
        await second.keeper.conditions.refresh()
        for number in range(8):
            await secs[number % 2].create(plain_saga(f"s{number}", "rack/1"))
        await settle()
        for sec in secs:
            sec.receive()
        assert [len(sec.held) for sec in secs] == [2, 1]
        await put(first, fewer)
        await second.keeper.conditions.refresh()
        async with asyncio.timeout(SECONDS):
            while first.engine.sagas or second.engine.sagas:
                await second.keeper.conditions.move_some(second.hand_offs)
                await settle()
                for sec in secs:
                    sec.receive()
                    for key in list(sec.held)[:1]:
                        sec.finish(key, failed=False)
        assert not any([await sec.store.list_owned() for sec in secs])
    finally:
        for sec in secs:
            await sec.close()


async def test_an_owner_that_adopts_counts_what_has_started() -> None:
    """The limits are recounted from logs: what the dead SEC had started holds its permits and its place."""
    backend = MemoryBackend()
    dead, heir = PlayedSec(backend, "sec-a"), PlayedSec(backend, "sec-b")
    await dead.open()
    await put(dead, pb.Limit(action="a", max_in_flight=2))
    await put(dead, pb.Limit(scope="rack/1", max_running=2))
    for number in range(3):
        await dead.create(plain_saga(f"s{number}", "rack/1"))
    await settle()
    dead.receive()
    assert len(dead.held) == 2
    await dead.close()
    await dead.store.close()
    await heir.open()
    try:
        await until(lambda: len(heir.engine.sagas) == 3)
        await settle()
        heir.receive()
        assert not heir.held
        held = [saga_id for saga_id in heir.engine.sagas if heir.engine.sagas[saga_id].held_by]
        assert held == ["s2"]
        await heir.create(plain_saga("other"))
        await settle()
        heir.receive()
        assert not heir.held, "two attempts may still be running at the worker of the dead SEC"
        assert reasons(heir, "other")[0][0] == pb.WAIT_REASON_LIMIT
    finally:
        await heir.close()


async def test_a_creation_that_is_given_up_with_its_incarnation_keeps_no_place_in_a_scope(sec: PlayedSec) -> None:
    """Nor does it wait for one, in front of the sagas that do."""
    await put(sec, pb.Limit(scope="rack/1", max_running=1))
    for saga_id in ("admitted", "held"):
        creation = sec.maker.make(plain_saga(saga_id, "rack/1"), sec.maker.moment())
        sec.creations.create_one(creation, lambda _: None)
    sec.engine.forget_all()
    sec.creations.forget_all()
    sec.engine.is_between_lives = False
    await sec.create(plain_saga("new", "rack/1"))
    await settle()
    sec.receive()
    assert {key[0] for key in sec.held} == {"new"}
