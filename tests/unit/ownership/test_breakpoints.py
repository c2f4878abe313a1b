"""Breakpoints on actions over whole SECs: heard of by every SEC, told as the reason, outliving owners."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest

from sagaline.v1 import admin_service_pb2 as pb
from sagaline.v1 import saga_pb2
from sagaline_server.core.decide import Step
from sagaline_server.core.entries import Kind
from sagaline_server.ownership.conditions import Conditions
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.cluster import StoredCondition
from sagaline_server.runtime.explain import explain
from sagaline_server.store.memory import MemoryBackend, MemoryStore
from sagaline_server.wire.breakpoints import point_subject
from tests.unit.ownership.fleet import PlayedSec, drawn_saga, settle
from tests.unit.ownership.waiting import until

REASON = (pb.WAIT_REASON_GATE, "the gate holds it: a breakpoint on the action a, set by ann: a look")


async def put(
    sec: PlayedSec,
    action: str,
    kind: saga_pb2.InvocationKind.ValueType = saga_pb2.INVOCATION_KIND_UNSPECIFIED,
) -> None:
    point = pb.ActionBreakpoint(action=action, kind=kind, actor="ann", reason="a look")
    await sec.store.put_condition(point_subject(action), point.SerializeToString())


async def clear(sec: PlayedSec, action: str) -> None:
    await sec.store.put_condition(point_subject(action), b"")


def saga(saga_id: str, *actions: str) -> saga_pb2.SagaSpec:
    """Return a saga of these actions, one after the other."""
    spec = drawn_saga(saga_id, random.Random(0))
    del spec.graph.nodes[:]
    for number, action in enumerate(actions):
        node = spec.graph.nodes.add(name=f"n{number}", after=[f"n{number - 1}"] if number else [])
        node.action.action = action
    return spec


def reasons(sec: PlayedSec, saga_id: str) -> list[tuple[int, str]]:
    engine = sec.engine
    told = explain(sec.dispatcher, engine.sagas[saga_id], engine.clock.wall(), engine.breakpoints.points)
    return [(wait.reason, wait.message) for wait in told.waits]


def knows(sec: PlayedSec, *actions: str) -> bool:
    return set(sec.engine.breakpoints.points.by_action) == set(actions)


@pytest.fixture
async def secs() -> AsyncIterator[tuple[PlayedSec, PlayedSec]]:
    backend = MemoryBackend()
    both = PlayedSec(backend, "sec-a"), PlayedSec(backend, "sec-b")
    for sec in both:
        await sec.open()
    yield both
    for sec in both:
        await sec.close()


async def held(sec: PlayedSec) -> set[str]:
    await settle()
    sec.receive()
    return {f"{key[0]} {key[1]}" for key in sec.held}


async def test_every_sec_holds_the_action_and_lets_it_go(secs: tuple[PlayedSec, PlayedSec]) -> None:
    """Rule 15: set at one SEC, it holds what another runs; all else goes on; cleared, everything does."""
    first, second = secs
    await put(first, "a")
    await until(lambda: knows(first, "a") and knows(second, "a"))
    for sec in secs:
        await sec.create(saga(f"of-{sec.name}", "a", "b"))
        await sec.create(saga(f"other-{sec.name}", "b"))
        assert await held(sec) == {f"other-{sec.name} n0"}
        assert reasons(sec, f"of-{sec.name}") == [REASON]
    await clear(second, "a")
    for sec in secs:
        await until(lambda sec=sec: knows(sec))  # type: ignore[misc]
        assert f"of-{sec.name} n0" in await held(sec)


async def test_it_holds_undo_alone_where_it_says_so(secs: tuple[PlayedSec, PlayedSec]) -> None:
    """Rule 15: forward work goes on, and what unwinds waits at it."""
    sec = secs[0]
    await put(sec, "a", saga_pb2.INVOCATION_KIND_UNDO)
    await until(lambda: knows(sec, "a"))
    await sec.create(saga("s", "a", "b"))
    assert await held(sec) == {"s n0"}
    sec.finish(("s", "n0", Kind.ACTION, 1), failed=False)
    assert await held(sec) == {"s n1"}
    sec.finish(("s", "n1", Kind.ACTION, 1), failed=True)
    assert await held(sec) == set()
    assert reasons(sec, "s") == [REASON]
    await put(sec, "a", saga_pb2.INVOCATION_KIND_ACTION)
    await until(lambda: bool(sec.session.in_flight))
    assert await held(sec) == {"s n0"}


async def test_a_step_lets_one_pass_and_a_new_owner_holds_the_rest(secs: tuple[PlayedSec, PlayedSec]) -> None:
    """Rule 15: the heir knows the breakpoint from the store, and the step from the log."""
    dead, heir = secs
    await put(dead, "a")
    await until(lambda: knows(dead, "a") and knows(heir, "a"))
    await dead.create(saga("s", "a", "a"))
    dead.engine.post(dead.engine.sagas["s"], Step(1, "ann", "one"))
    assert await held(dead) == {"s n0"}
    dead.finish(("s", "n0", Kind.ACTION, 1), failed=False)
    assert await held(dead) == set()
    await dead.close()
    await dead.store.close()
    await until(lambda: "s" in heir.engine.sagas)
    assert await held(heir) == set()
    assert reasons(heir, "s") == [REASON]
    await clear(heir, "a")
    await until(lambda: bool(heir.session.in_flight))
    assert await held(heir) == {"s n1"}


async def test_a_saga_that_is_being_created_when_it_is_cleared_goes_on(secs: tuple[PlayedSec, PlayedSec]) -> None:
    """What was decided under the breakpoint is looked at again once it is durable."""
    sec = secs[0]
    await put(sec, "a")
    await until(lambda: knows(sec, "a"))
    sec.creations.create_one(sec.maker.make(saga("s", "a"), sec.maker.moment()), lambda _fate: None)
    sec.engine.breakpoints.set({})
    await until(lambda: bool(sec.session.in_flight))
    assert await held(sec) == {"s n0"}


async def test_a_side_that_is_not_known_is_both(secs: tuple[PlayedSec, PlayedSec]) -> None:
    """What a later release may say holds more here, never less."""
    sec = secs[0]
    await put(sec, "a", 7)  # type: ignore[arg-type]
    await until(lambda: knows(sec, "a"))
    await sec.create(saga("s", "a"))
    assert await held(sec) == set()


async def test_one_that_can_not_be_read_holds_nothing(secs: tuple[PlayedSec, PlayedSec]) -> None:
    sec = secs[0]
    await sec.store.put_condition(point_subject("a"), b"\xff")
    await put(sec, "b")
    await until(lambda: knows(sec, "b"))
    await sec.create(saga("s", "a"))
    assert await held(sec) == {"s n0"}


class LateStore(MemoryStore):
    """A store one of whose answers is late, when a test wants it to."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self.late: asyncio.Event | None = None

    async def list_conditions(self) -> Sequence[StoredCondition]:
        late, self.late = self.late, None
        conditions = await super().list_conditions()
        if late is not None:
            await late.wait()
        return conditions


async def test_a_late_answer_takes_nothing_back() -> None:
    """What a SEC read before a change does not come after what it read after it."""
    played = PlayedSec(MemoryBackend(), "sec-a")
    store = LateStore(MemoryBackend())
    await store.open(sec_id="sec-a", address="a:1", version="1")
    conditions = Conditions(store, played.engine, Membership("sec-a"))
    late = store.late = asyncio.Event()
    first = asyncio.create_task(conditions.refresh())
    await settle()
    point = pb.ActionBreakpoint(action="a", actor="ann", reason="a look")
    await store.put_condition(point_subject("a"), point.SerializeToString())
    second = asyncio.create_task(conditions.refresh())
    await settle()
    late.set()
    await asyncio.gather(first, second)
    assert knows(played, "a")
