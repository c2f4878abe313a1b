"""Who dies, doing what, and who brings the sagas to their end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable

from sagaline.v1 import saga_pb2
from tests.failover.crashes.stage import Sec, Stage

Scene = Callable[[Stage], Awaitable[None]]


async def owner_dies(stage: Stage) -> None:
    """A SEC that runs sagas dies; on SQLite it is started again, on etcd another one takes over."""
    first, second = stage.sec("first", point=stage.case.point), _successor(stage)
    await first.start()
    stage.worker(first)
    if stage.case.store == "etcd":
        await second.start()
        stage.worker(second)
    await stage.try_to_create(first)
    await first.crashed()
    if stage.case.store == "sqlite":
        await second.start()
    await stage.create(second)
    await stage.judge(second)


async def adopter_dies(stage: Stage) -> None:
    """A SEC dies, then the one that takes over its sagas, and a third one brings them to their end."""
    first, second = stage.sec("first"), stage.sec("first", point=stage.case.point)
    await first.start()
    await stage.create(first)
    await first.kill()
    # Of the same name, so that the first one's lease need not run out.
    await second.launch()
    await second.crashed()
    third = _successor(stage)
    await third.start()
    stage.worker(third)
    await stage.judge(third)


async def giver_dies(stage: Stage) -> None:
    """A SEC dies while it hands its sagas off."""
    first, second = stage.sec("first", point=stage.case.point), stage.sec("second")
    await asyncio.gather(first.start(), second.start())
    await stage.create(first)
    stage.worker(first)
    stage.worker(second)
    await stage.try_to_hand_off(first, "second")
    await first.crashed()
    await stage.judge(second)


async def taker_dies(stage: Stage) -> None:
    """A SEC dies when sagas have just been handed to it; they come back."""
    first, second = stage.sec("first"), stage.sec("second", point=stage.case.point)
    await asyncio.gather(first.start(), second.start())
    await stage.create(first)
    stage.worker(first)
    stage.worker(second)
    await stage.try_to_hand_off(first, "second")
    await second.crashed()
    await stage.judge(first)


async def leaver_dies(stage: Stage) -> None:
    """A SEC that was asked to leave dies while it does."""
    first, second = stage.sec("first", point=stage.case.point), _successor(stage)
    await first.start()
    stage.worker(first)
    if stage.case.store == "etcd":
        await second.start()
        stage.worker(second)
    await stage.create(first)
    assert first.process is not None
    first.process.signal(signal.SIGTERM)
    await first.crashed()
    if stage.case.store == "sqlite":
        await second.start()
    await stage.judge(second)


async def asked_dies(stage: Stage) -> None:
    """A SEC dies that was given an order for another one's saga: the order is carried out all the same."""
    first, second = stage.sec("first"), stage.sec("second", point=stage.case.point)
    await asyncio.gather(first.start(), second.start())
    await stage.create(first, paused=True)
    unwound, *others = stage.saga_ids
    await stage.try_to_unwind(second, unwound)
    await second.crashed()
    client = stage.client(first)
    stage.worker(first)
    assert (await client.wait(unwound, wait_s=20.0)).state == saga_pb2.SAGA_STATE_UNWOUND
    for saga_id in others:
        await client.resume(saga_id)
    stage.saga_ids = others
    await stage.judge(first)


async def starter_dies(stage: Stage) -> None:
    """A SEC dies while it starts."""
    first = stage.sec("first", point=stage.case.point)
    await first.launch()
    await first.crashed()
    second = _successor(stage)
    await second.start()
    stage.worker(second)
    await stage.create(second)
    await stage.judge(second)


def _successor(stage: Stage) -> Sec:
    """Return who takes the first one's place: itself on SQLite, another one on etcd."""
    return stage.sec("first" if stage.case.store == "sqlite" else "second")


SCENES: dict[str, Scene] = {
    "owner": owner_dies,
    "adopter": adopter_dies,
    "giver": giver_dies,
    "taker": taker_dies,
    "leaver": leaver_dies,
    "asked": asked_dies,
    "starter": starter_dies,
}
