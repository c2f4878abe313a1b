"""Giving sagas away explicitly: hold the gate, let the append under way end, then one transaction names the new owner.

What is in flight goes on: the old owner tells the workers where results go,
the new one asks them what they hold. Nothing runs twice, and nothing waits for
a timeout.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from sagaline.v1 import log_pb2
from sagaline_server.core.decide import Close
from sagaline_server.core.placement import plan_hand_off
from sagaline_server.ownership.membership import Membership
from sagaline_server.ports.clock import Clock
from sagaline_server.ports.cluster import ClusterStore, HandOff, HandOffFate, StoredControl
from sagaline_server.ports.store import SecRecord, StoreError
from sagaline_server.runtime.crashpoints import reach
from sagaline_server.runtime.engine import SagaEngine
from sagaline_server.runtime.live import LiveSaga
from sagaline_server.wire.times import timestamp

log = structlog.get_logger("sagaline.handoff")

BATCH = 40
"""Sagas in one transaction: three conditions each have to fit into etcd's 128."""
RETRY_SECONDS = 0.2


class HandOffs:
    """Gives sagas of this SEC to others."""

    def __init__(self, store: ClusterStore, engine: SagaEngine, membership: Membership, clock: Clock) -> None:
        """Make the hand-offs of an engine."""
        self._store = store
        self._engine = engine
        self._membership = membership
        self._clock = clock
        self._under_way: set[asyncio.Task[int]] = set()

    async def hand_off(self, saga_ids: Sequence[str], to: SecRecord) -> int:
        """Make another SEC the owner of sagas that run here; returns how many it owns now.

        Tries until the outcome of each is known, also when whoever asked gives up meanwhile: a saga must not stay
        held because a client went away. Those that could not be given, or are being handed off already, stay.
        """
        task = asyncio.create_task(self._hand_off_all(saga_ids, to), name="hand-off")
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Give up what is under way. Nothing more is written to a saga whose owner is not known."""
        under_way = list(self._under_way)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)

    async def _hand_off_all(self, saga_ids: Sequence[str], to: SecRecord) -> int:
        count = 0
        for start in range(0, len(saga_ids), BATCH):
            lives = [self._engine.sagas.get(saga_id) for saga_id in saga_ids[start : start + BATCH]]
            count += await self._hand_off([live for live in lives if live is not None], to)
        return count

    async def _hand_off(self, lives: Sequence[LiveSaga], to: SecRecord) -> int:
        held = await asyncio.gather(*(self._engine.hold(live) for live in lives))
        ready = [live for live, is_held in zip(lives, held, strict=True) if is_held]
        if not ready:
            return 0
        reach("handoff.held")
        try:
            fates = await self._commit([self._order(live) for live in ready], to)
        except asyncio.CancelledError:
            # What has become of them is not known, so nothing may be written to them: the sweep finds out.
            for live in ready:
                self._engine.lose(live)
            raise
        reach("handoff.committed")
        count = 0
        for live, fate in zip(ready, fates, strict=True):
            if fate is HandOffFate.DONE:
                self._engine.leave(live, (to.sec_id, to.address))
                reach("handoff.left")
                count += 1
            elif fate is HandOffFate.TARGET_GONE:
                self._engine.stay(live)
            else:
                self._engine.lose(live)
        log.info("handed_off", sagas=count, asked=len(lives), to=to.sec_id)
        return count

    def _order(self, live: LiveSaga) -> HandOff:
        assert live.claim is not None
        record = log_pb2.ControlRecord(time=timestamp(self._clock.wall()))
        record.run.from_sec_id = self._membership.me
        return HandOff(live.claim, record.SerializeToString())

    async def _commit(self, hand_offs: Sequence[HandOff], to: SecRecord) -> Sequence[HandOffFate]:
        while True:
            try:
                return await self._store.hand_off(hand_offs, to)
            except StoreError as error:
                log.warning("hand_off_outcome_unknown", sagas=len(hand_offs), error=str(error))
                await asyncio.sleep(RETRY_SECONDS)

    async def drain(self) -> int:
        """Give every saga to another SEC; returns how many are left here because nobody could take them."""
        while self._engine.sagas:
            before = len(self._engine.sagas)
            targets = {sec.sec_id: sec for sec in self._membership.others()}
            shares = plan_hand_off(list(self._engine.sagas), self._membership.me, targets)
            if not shares:
                break
            for sec_id, saga_ids in shares.items():
                await self.hand_off(saga_ids, targets[sec_id])
            if len(self._engine.sagas) >= before:
                self._membership.update(await self._store.list_secs(), self._store.revision)
                await asyncio.sleep(RETRY_SECONDS)
        return len(self._engine.sagas)

    async def serve_orders(self, orders: asyncio.Queue[StoredControl]) -> None:
        """Carry out the hand-offs that were asked for, for ever. The owner runs and cancels it."""
        while True:
            control = await orders.get()
            live = self._engine.sagas.get(control.saga_id)
            if live is None or control.control_id in live.controls:
                continue
            target = self.target(control.saga_id, log_pb2.ControlRecord.FromString(control.control).hand_off.to_sec_id)
            if target is None or not await self.hand_off([control.saga_id], target):
                # It can't be done, so there is no successor to consume the order.
                self._engine.control(live, control.control_id, Close())

    def target(self, saga_id: str, wanted: str) -> SecRecord | None:
        """Return the SEC to give a saga to: the wanted one, or the one that placement prefers."""
        targets = {sec.sec_id: sec for sec in self._membership.others()}
        if wanted:
            return targets.get(wanted)
        shares = plan_hand_off([saga_id], self._membership.me, targets)
        return targets[next(iter(shares))] if shares else None
