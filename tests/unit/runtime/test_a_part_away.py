"""A part of the store is away: its sagas take no more slots of workers from those of the others, and go on later."""

from __future__ import annotations

import asyncio

from sagaline.v1 import saga_pb2
from tests.unit.ownership.fleet import PlayedSec
from tests.unit.ownership.waiting import until
from tests.unit.runtime.test_lanes import Parts

SLOTS = 3


def two(saga_id: str) -> saga_pb2.SagaSpec:
    """Return a saga of two actions, one after the other."""
    spec = saga_pb2.SagaSpec(saga_id=saga_id)
    spec.params.json = "{}"
    spec.graph.name = "two"
    spec.graph.nodes.add(name="first").action.action = "a"
    spec.graph.nodes.add(name="second", after=["first"]).action.action = "a"
    return spec


async def test_sagas_of_a_part_that_is_away_leave_the_slots_to_the_others() -> None:
    parts = Parts()
    played = PlayedSec(parts.store, "sec-a", SLOTS)
    await played.open()
    here, there = parts.ids(0, 6), parts.ids(1, 6)
    parts.away.add(1)
    creating = [asyncio.create_task(played.create(two(there[0])))]
    await until(lambda: played.engine.commit.holds(there[0]))  # it has one slot, and keeps it
    creating += [asyncio.create_task(played.create(two(saga_id))) for saga_id in (*there[1:], *here)]

    await until(lambda: _has_ended(played, here))
    assert played.session.used("a") == 1
    assert not any(parts.backends[1].owned())

    parts.away.clear()
    await asyncio.gather(*creating)
    await until(lambda: _has_ended(played, there))
    assert played.session.used("a") == 0
    await played.close()


def _has_ended(played: PlayedSec, saga_ids: list[str]) -> bool:
    """Let the worker finish what it has, and time pass; True when all of these have been created and have ended."""
    played.receive()
    for key in list(played.held):
        played.finish(key, failed=False)
    played.engine.send_held()
    return all(map(played.engine.may_begin, saga_ids)) and played.engine.metrics.created >= len(saga_ids)
