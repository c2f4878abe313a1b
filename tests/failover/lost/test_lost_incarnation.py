"""A SEC that has lost its lease finds out, also when it has nothing to write: it tells the truth, and comes back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sagaline import Client
from sagaline.v1 import saga_pb2
from tests.failover.figures.take_over import create_held
from tests.failover.hosts import SecSettings
from tests.failover.site import PREFIX, Site
from tests.failover.waiting import until

pytestmark = pytest.mark.etcd

SECONDS = 30.0
LEASE_SECONDS = 2


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Two SECs on one etcd."""
    settings = SecSettings(PREFIX, lease_ttl=LEASE_SECONDS)
    async with Site(tmp_path / "site", secs=2, workers=0, members=1, proxied=False, settings=settings) as site:
        yield site


async def state_at(client: Client, saga_id: str) -> saga_pb2.SagaState.ValueType:
    return (await client.get(saga_id)).state


async def test_a_sec_that_was_stopped_past_its_lease_shows_what_others_did_meanwhile(site: Site) -> None:
    """Its sagas were taken over and have ended; it must not go on showing them as it remembers them."""
    stopped, other = site.secs
    (saga_id,) = await create_held(stopped, 1)
    async with Client(stopped.address, timeout_s=3.0) as old, Client(other.address) as new:
        waiting = asyncio.create_task(old.wait(saga_id, wait_s=SECONDS))
        stopped.stop()
        await until(lambda: owned_by(new, saga_id, other.name), SECONDS)
        assert (await new.unwind(saga_id)).saga_id == saga_id
        assert (await new.wait(saga_id, wait_s=SECONDS)).state == saga_pb2.SAGA_STATE_UNWOUND
        stopped.resume()

        async def has_ended() -> bool:
            return await state_at(old, saga_id) == saga_pb2.SAGA_STATE_UNWOUND

        await until(has_ended, SECONDS)
        assert (await waiting).state == saga_pb2.SAGA_STATE_UNWOUND


async def owned_by(client: Client, saga_id: str, sec_id: str) -> bool:
    return (await client.get(saga_id)).owner == sec_id


async def test_a_sec_whose_lease_is_ended_by_hand_becomes_a_new_incarnation(site: Site) -> None:
    """Nobody asks anything of it; it is a member again all the same, and takes its share."""
    revoked, other = site.secs
    async with Client(other.address) as client:
        before = {status.sec.sec_id: status.incarnation for status in await client.secs()}
        assert await site.revoke_lease(revoked)

        async def is_back() -> bool:
            now = {status.sec.sec_id: status.incarnation for status in await client.secs()}
            return now.get(revoked.name, 0) > before[revoked.name]

        await until(is_back, SECONDS)
